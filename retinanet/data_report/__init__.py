"""Statistics of the prepared data, among them how well the anchors fit its objects, and a page that shows them."""

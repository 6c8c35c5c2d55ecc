"""From annotated images to checked, split and tiled data."""

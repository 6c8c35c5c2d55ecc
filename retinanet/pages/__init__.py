"""The HTML pages that the stages write."""

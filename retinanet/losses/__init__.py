"""Matching of anchors to objects, and the training losses."""

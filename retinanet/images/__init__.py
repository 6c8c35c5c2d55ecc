"""Reading, resizing and tiling images."""

"""Rasters of any size, such as orthophotos, to georeferenced boxes."""

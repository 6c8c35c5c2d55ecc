"""The pyramid levels P3 to P7; usable without torch."""

FIRST_LEVEL = 3
# Pixels of the network's input between neighboring cells of each level.
LEVEL_STRIDES = (8, 16, 32, 64, 128)

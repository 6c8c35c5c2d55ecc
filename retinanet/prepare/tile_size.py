"""The choice of a tile size for `prepare.tile_size: auto`."""

import math
from collections.abc import Sequence

import numpy as np

from retinanet.images.preprocess import InputSize, fit_scale
from retinanet.prepare.checks import CheckedImage

# Pixels at the network's input: half the side of the smallest default anchor, whose IoU with such an object is 0.25.
MIN_OBJECT_SIDE = 16
# Pixels at the network's input that a median object gets in a tile: the smallest anchor of the default sizes.
OBJECT_SIDE_IN_TILES = 32
# Larger tiles than this share of the shorter side of the images gain too little.
MAX_SHARE_OF_IMAGE = 0.8
TILE_MULTIPLE = 32


def choose_tile_size(images: Sequence[CheckedImage], input_size: InputSize) -> tuple[int, str]:
    """The tile size in px, 0 to keep images whole, and the reason.

    Images are cut if the median object would be smaller than MIN_OBJECT_SIDE at the network's input. A tile is at
    least twice as large as nearly all objects, so that few are cut.
    """
    scaled, sides, largest = [], [], []
    for image in images:
        scale = fit_scale(image.facts.height, image.facts.width, *input_size)
        for box in image.boxes:
            if not box.iscrowd:
                scaled.append(box.side * scale)
                sides.append(box.side)
                largest.append(max(box.width, box.height))
    if not scaled:
        return 0, "images are kept whole: they have no objects"
    median = float(np.median(scaled))
    numbers = f"the median object has {median:.0f} px at the network's input ({input_size.short_side} px)"
    if median >= MIN_OBJECT_SIDE:
        return 0, f"images are kept whole: {numbers}"
    wanted = max(
        input_size.short_side * float(np.median(sides)) / OBJECT_SIDE_IN_TILES, 2 * float(np.quantile(largest, 0.95))
    )
    tile_size = math.ceil(wanted / TILE_MULTIPLE) * TILE_MULTIPLE
    shorter = float(np.median([min(image.facts.width, image.facts.height) for image in images]))
    if tile_size > MAX_SHARE_OF_IMAGE * shorter:
        return 0, f"images are kept whole, although {numbers}: tiles of {tile_size} px would gain little"
    return tile_size, f"images are cut into tiles of {tile_size} px: {numbers}, less than {MIN_OBJECT_SIDE}"

from pathlib import Path

import pytest

from retinanet.annotations.records import Box, SourceImage
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import ImageFacts
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.tile_size import choose_tile_size

INPUT = InputSize(640, 640)


def image(side: int, *sides: int, iscrowd: bool = False) -> CheckedImage:
    """A square image with square objects of these sides."""
    boxes = tuple(Box("cat", (0.0, 0.0, float(length), float(length)), iscrowd) for length in sides)
    return CheckedImage(SourceImage(Path("a.png"), boxes), ImageFacts(side, side, "", ()), boxes)


@pytest.mark.parametrize(
    ("images", "tile_size", "reason"),
    [
        # 30 px of 640 stay 30 px.
        ([image(640, 30)], 0, "kept whole: the median object has 30 px at the network's input (640 px)"),
        # 30 px of 4000 become 5 px; in a tile of 640 * 30 / 32 = 600 px, rounded up to 608, they have 32 px.
        ([image(4000, 30)], 608, "cut into tiles of 608 px: the median object has 5 px"),
        # 900 px are twice as large as the largest of three objects.
        ([image(4000, 30, 30, 450)], 832, "cut into tiles of 832 px"),
        # Tiles of 608 px would gain little.
        ([image(650, 15, 15, 300)], 0, "although the median object has 15 px"),
        ([image(640)], 0, "they have no objects"),
        ([image(4000, 30, iscrowd=True)], 0, "they have no objects"),
    ],
)
def test_images_are_cut_only_if_objects_are_too_small(images, tile_size, reason):
    chosen, said = choose_tile_size(images, INPUT)
    assert chosen == tile_size
    assert reason in said


def test_the_median_decides():
    """Half of the objects and more are large enough."""
    assert choose_tile_size([image(4000, 10), image(640, 30), image(640, 30)], INPUT)[0] == 0

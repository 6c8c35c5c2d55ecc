from itertools import combinations

import pytest

from retinanet.annotations.records import Box
from retinanet.images.tiles import Region, tiles
from retinanet.prepare.cut import bands, boxes_inside


def overlap(a: Region, b: Region) -> int:
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    return max(0, width) * max(0, height)


def test_bands_divide_the_longer_side_without_overlap():
    assert bands(1000, 500, 0.15, 0.2) == {
        "train": Region(0, 0, 650, 500),
        "val": Region(650, 0, 800, 500),
        "test": Region(800, 0, 1000, 500),
    }
    assert bands(500, 1000, 0.15, 0.2)["test"] == Region(0, 800, 500, 1000)


def test_a_share_of_zero_has_no_band():
    assert bands(100, 50, 0, 0.2).keys() == {"train", "test"}
    assert bands(100, 50, 0, 0) == {"train": Region(0, 0, 100, 50)}


def test_tiles_with_overlap_have_full_size_and_cover_the_region():
    found = tiles(Region(0, 0, 1000, 400), 400, 0.25)
    assert found == [Region(0, 0, 400, 400), Region(300, 0, 700, 400), Region(600, 0, 1000, 400)]


def test_last_tile_is_moved_inside_the_region():
    assert tiles(Region(50, 0, 750, 10), 400, 0.25)[-1] == Region(350, 0, 750, 10)


@pytest.mark.parametrize("width", [401, 799, 801, 1234])
def test_tiles_without_overlap_hold_each_pixel_once(width):
    region = Region(10, 20, 10 + width, 520)
    found = tiles(region, 400, 0)
    assert sum(tile.width * tile.height for tile in found) == width * 500
    assert not any(overlap(a, b) for a, b in combinations(found, 2))
    assert max(tile.width for tile in found) <= 400


def test_a_small_region_is_one_tile():
    assert tiles(Region(5, 5, 105, 55), 400, 0.25) == [Region(5, 5, 105, 55)]


def test_boxes_inside_clips_and_moves_boxes():
    box = Box("cat", (90, 10, 110, 30), area=100.0)
    (inside,) = boxes_inside((box,), Region(100, 0, 200, 100), 0.5)
    assert inside == Box("cat", (0, 10, 10, 30), iscrowd=False, area=50.0)


def test_box_with_too_small_a_share_inside_becomes_a_crowd():
    box = Box("cat", (90, 10, 110, 30), area=100.0)
    (inside,) = boxes_inside((box,), Region(100, 0, 200, 100), 0.51)
    assert inside == Box("cat", (0, 10, 10, 30), iscrowd=True, area=50.0)


def test_box_outside_is_dropped():
    assert boxes_inside((Box("cat", (0, 0, 10, 10)),), Region(10, 0, 20, 10), 0.0) == ()


def test_sliver_is_dropped():
    box = Box("cat", (90, 10, 100.005, 30))
    assert boxes_inside((box,), Region(100, 0, 200, 100), 0.0) == ()


def test_box_without_area_keeps_none():
    (inside,) = boxes_inside((Box("cat", (90, 10, 110, 30)),), Region(0, 0, 100, 100), 0.1)
    assert inside.area is None

import numpy as np

from retinanet.images.tiles import UNCUT, Region, Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.tiling import cut, join

LEFT, RIGHT = Region(0, 0, 400, 300), Region(300, 0, 700, 300)


def detections(*rows: tuple) -> Detections:
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def boxes(found: Detections) -> list[list[float]]:
    return found.boxes_xyxy.tolist()


def test_a_image_of_a_tiles_size_is_not_cut_and_a_larger_one_is():
    assert cut(300, 400, Tiling(400, 0.25)) == [Region(0, 0, 400, 300)]
    assert cut(300, 700, Tiling(400, 0.25)) == [LEFT, RIGHT]
    assert cut(9000, 9000, UNCUT) == [Region(0, 0, 9000, 9000)]


def test_boxes_come_back_in_pixels_of_the_image_best_first():
    found = join([LEFT, RIGHT], [detections((10, 10, 50, 50, 0.6, 0)), detections((200, 10, 240, 50, 0.9, 1))])
    assert boxes(found) == [[500, 10, 540, 50], [10, 10, 50, 50]]
    assert found.labels.tolist() == [1, 0] and found.scores.tolist() == np.float32([0.9, 0.6]).tolist()


def test_what_two_tiles_see_is_one():
    seen_twice = [detections((320, 10, 360, 50, 0.6, 0)), detections((21, 10, 61, 50, 0.9, 0))]
    assert boxes(join([LEFT, RIGHT], seen_twice)) == [[321, 10, 361, 50]]


def test_two_classes_in_one_place_are_two():
    assert len(join([LEFT, RIGHT], [detections((320, 10, 360, 50, 0.6, 0)), detections((20, 10, 60, 50, 0.9, 1))])) == 2


def test_a_part_at_an_edge_gives_way_to_the_whole():
    """The left tile sees 20 px of an object of 90 px, surer of them than the right tile of the whole."""
    part, whole = detections((380, 10, 400, 100, 0.9, 0)), detections((80, 10, 170, 100, 0.5, 0))
    assert boxes(join([LEFT, RIGHT], [part, whole])) == [[380, 10, 470, 100]]


def test_a_part_without_a_whole_in_another_tile_stays():
    alone = [detections((380, 10, 400, 100, 0.9, 0)), detections()]
    assert len(join([LEFT, RIGHT], alone)) == 1
    in_one_tile = [detections((380, 10, 400, 100, 0.9, 0), (350, 5, 395, 110, 0.8, 0)), detections()]
    assert len(join([LEFT, RIGHT], in_one_tile)) == 2


def test_what_one_tile_keeps_apart_stays_apart():
    """Two boxes with an IoU of 0.6, which the detector's own NMS left."""
    assert len(join([LEFT, RIGHT], [detections((10, 10, 50, 50, 0.9, 0), (20, 10, 60, 50, 0.8, 0)), detections()])) == 2


def test_a_rival_that_is_no_longer_there_costs_nothing():
    """The right tile's box is worse than the left one's first, which leaves the second alone."""
    left = detections((310, 10, 350, 50, 0.9, 0), (332, 10, 372, 50, 0.5, 0))
    right = detections((21, 10, 61, 50, 0.7, 0))  # IoU 0.57 with both
    assert len(join([LEFT, RIGHT], [left, right])) == 2


def test_an_object_that_no_tile_has_whole_comes_in_its_parts():
    parts = detections((250, 10, 400, 100, 0.9, 0)), detections((0, 10, 180, 100, 0.8, 0))
    assert boxes(join([LEFT, RIGHT], parts)) == [[250, 10, 400, 100], [300, 10, 480, 100]]


def test_many_tiles_with_many_boxes_need_little():
    """100 tiles of 100 boxes each, none of which lies in two."""
    regions = [Region(x, y, x + 400, y + 400) for x in range(0, 3000, 300) for y in range(0, 3000, 300)]
    corners = [(110 + 18 * column, 110 + 18 * row) for column in range(10) for row in range(10)]
    few = detections(*((x, y, x + 10, y + 10, 0.5, 0) for x, y in corners))
    assert len(join(regions, [few] * len(regions))) == 10_000


def test_what_ends_at_the_images_own_edge_is_no_part():
    """A small object at the border, in front of a large one."""
    found = join([LEFT, RIGHT], [detections((0, 0, 30, 30, 0.5, 0), (0, 0, 200, 200, 0.9, 0)), detections()])
    assert len(found) == 2


def test_nothing_found():
    assert len(join([LEFT, RIGHT], [detections(), detections()])) == 0

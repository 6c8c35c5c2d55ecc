from itertools import combinations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from retinanet.images.tiles import UNCUT, Region, Tiling, tiles
from retinanet.inference.detections import Detections
from retinanet.inference.tiling import cut, join

LEFT, RIGHT = Region(0, 0, 400, 300), Region(300, 0, 700, 300)


def detections(*rows: tuple) -> Detections:
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def boxes(found: Detections) -> list[list[float]]:
    return found.boxes_xyxy.tolist()


def test_cut_returns_the_full_image_up_to_the_tile_size():
    assert cut(300, 400, Tiling(400, 0.25)) == [Region(0, 0, 400, 300)]
    assert cut(300, 700, Tiling(400, 0.25)) == [LEFT, RIGHT]
    assert cut(9000, 9000, UNCUT) == [Region(0, 0, 9000, 9000)]


def test_join_returns_boxes_in_pixels_of_the_image_best_first():
    found = join([LEFT, RIGHT], [detections((10, 10, 50, 50, 0.6, 0)), detections((200, 10, 240, 50, 0.9, 1))])
    assert boxes(found) == [[500, 10, 540, 50], [10, 10, 50, 50]]
    assert found.labels.tolist() == [1, 0] and found.scores.tolist() == np.float32([0.9, 0.6]).tolist()


def test_join_keeps_the_better_of_two_boxes_of_one_object():
    seen_twice = [detections((320, 10, 360, 50, 0.6, 0)), detections((21, 10, 61, 50, 0.9, 0))]
    assert boxes(join([LEFT, RIGHT], seen_twice)) == [[321, 10, 361, 50]]


def test_join_keeps_two_classes_in_one_place():
    assert len(join([LEFT, RIGHT], [detections((320, 10, 360, 50, 0.6, 0)), detections((20, 10, 60, 50, 0.9, 1))])) == 2


def test_join_replaces_a_cut_off_box_by_the_complete_one():
    """The left tile shows 20 px of an object of 90 px; its score is higher than that of the complete box."""
    part, whole = detections((380, 10, 400, 100, 0.9, 0)), detections((80, 10, 170, 100, 0.5, 0))
    assert boxes(join([LEFT, RIGHT], [part, whole])) == [[380, 10, 470, 100]]


def test_join_keeps_a_cut_off_box_without_a_complete_one_in_another_tile():
    alone = [detections((380, 10, 400, 100, 0.9, 0)), detections()]
    assert len(join([LEFT, RIGHT], alone)) == 1
    in_one_tile = [detections((380, 10, 400, 100, 0.9, 0), (350, 5, 395, 110, 0.8, 0)), detections()]
    assert len(join([LEFT, RIGHT], in_one_tile)) == 2


def test_join_never_merges_boxes_of_one_tile():
    """Two boxes with an IoU of 0.6 that the detector's NMS kept."""
    assert len(join([LEFT, RIGHT], [detections((10, 10, 50, 50, 0.9, 0), (20, 10, 60, 50, 0.8, 0)), detections()])) == 2


def test_a_suppressed_box_suppresses_no_other():
    """The left tile's first box suppresses the right tile's, which overlaps the left tile's second."""
    left = detections((310, 10, 350, 50, 0.9, 0), (332, 10, 372, 50, 0.5, 0))
    right = detections((21, 10, 61, 50, 0.7, 0))  # IoU 0.57 with both
    assert len(join([LEFT, RIGHT], [left, right])) == 2


def test_an_object_larger_than_the_overlap_keeps_its_partial_boxes():
    parts = detections((250, 10, 400, 100, 0.9, 0)), detections((0, 10, 180, 100, 0.8, 0))
    assert boxes(join([LEFT, RIGHT], parts)) == [[250, 10, 400, 100], [300, 10, 480, 100]]


def test_join_of_10_000_boxes_in_100_tiles_keeps_those_of_one_tile_each():
    regions = [Region(x, y, x + 400, y + 400) for x in range(0, 3000, 300) for y in range(0, 3000, 300)]
    corners = [(110 + 18 * column, 110 + 18 * row) for column in range(10) for row in range(10)]
    of_each_tile = detections(*((x, y, x + 10, y + 10, 0.5, 0) for x, y in corners))
    assert len(join(regions, [of_each_tile] * len(regions))) == 10_000


def test_a_box_at_the_edge_of_the_image_is_not_cut_off():
    """A small object at the border in front of a large one."""
    found = join([LEFT, RIGHT], [detections((0, 0, 30, 30, 0.5, 0), (0, 0, 200, 200, 0.9, 0)), detections()])
    assert len(found) == 2


def test_join_without_detections():
    assert len(join([LEFT, RIGHT], [detections(), detections()])) == 0


@pytest.mark.parametrize("seed", range(12))
def test_join_equals_comparing_all_pairs_of_tiles(seed):
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(401, 1500, 2))
    regions = tiles(Region(0, 0, width, height), 400, float(rng.choice([0, 0.1, 0.25, 0.5])))
    found = scattered(rng, regions, (width, height), largest=(60, 400)[seed % 2])
    joined, expected = join(regions, found), join_all_pairs(regions, found)
    assert len(joined) > 10
    for name in ("boxes_xyxy", "scores", "labels"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(expected, name))


def scattered(rng, regions: list[Region], image_size: tuple[int, int], largest: float) -> list[Detections]:
    """What a noisy detector finds in each tile of objects all over an image, with many equal scores."""
    centers = rng.uniform(0, image_size, (6 * len(regions), 2))
    sizes, labels = rng.uniform(5, largest, centers.shape), rng.integers(0, 2, len(centers))
    found = []
    for region in regions:
        corners = [centers + sign * sizes / 2 + rng.normal(0, 2, centers.shape) for sign in (-1, 1)]
        low, high = (np.clip(corner, region[:2], region[2:]) - region[:2] for corner in corners)
        visible = (high - low > 1).all(axis=1)
        boxes = np.concatenate([low, high], axis=1)[visible].astype(np.float32)
        found.append(Detections(boxes, rng.random(len(boxes)).round(1).astype(np.float32), labels[visible]))
    return found


def join_all_pairs(regions: list[Region], found: list[Detections]) -> Detections:
    """join as a loop over all pairs of tiles, with torchvision's IoU."""
    image = [0, 0, *np.array(regions)[:, 2:].max(axis=0)]
    boxes, cut_off, tile_of = [], [], []
    for tile, (region, of_tile) in enumerate(zip(regions, found, strict=True)):
        moved = of_tile.boxes_xyxy + np.array([region.left, region.top] * 2, np.float32)
        near = np.abs(moved - np.array(region)) <= np.array([region.width, region.height] * 2) * 0.01
        boxes.append(moved)
        cut_off.append((near & (np.array(region) != image)).any(axis=1))
        tile_of += [tile] * len(of_tile)
    together = Detections(
        np.concatenate(boxes),
        np.concatenate([of_tile.scores for of_tile in found]),
        np.concatenate([of_tile.labels for of_tile in found]),
    )
    partial, tile = np.concatenate(cut_off), np.array(tile_of)
    ious = box_iou(*[torch.from_numpy(together.boxes_xyxy)] * 2).numpy()
    low, high = together.boxes_xyxy[:, :2], together.boxes_xyxy[:, 2:]
    shared = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).clip(0).prod(axis=2)
    shares = shared / (high - low).prod(axis=1)[:, None]
    kept = np.ones(len(together), bool)
    comparable = np.zeros(ious.shape, bool)
    for i, j in combinations(range(len(regions)), 2):
        for one, other in ((i, j), (j, i)):
            comparable |= (tile[:, None] == one) & (tile == other) & (together.labels[:, None] == together.labels)
    kept &= ~(comparable & (shares >= 0.5) & partial[:, None] & ~partial).any(axis=1)
    order = np.argsort(-together.scores, kind="stable")
    for position, row in enumerate(order):
        if kept[row]:
            worse = order[position + 1 :]
            kept[worse[(comparable & (ious >= 0.5))[row, worse]]] = False
    return together.rows(order[kept[order]])

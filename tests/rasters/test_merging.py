import numpy as np
import pytest
from torchvision.ops import box_iou

from retinanet.rasters.grid import Grid
from retinanet.rasters.journal import FOUND
from retinanet.rasters.merging import merge

# Tiles of 100 px that overlap by 40 px: columns begin at 0, 60 and 120, rows at 0 and 60.
GRID = Grid(width=220, height=160, cell=20, tile=100, step=60)


def row_of(*detections: tuple) -> np.ndarray:
    """Rows of tile column, x1, y1, x2, y2 in pixels of the tile, score, label."""
    found = np.zeros(len(detections), FOUND)
    for record, (column, *box, score, label) in zip(found, detections, strict=True):
        record["column"], record["box"], record["score"], record["label"] = column, box, score, label
    return found


def merged(*rows: np.ndarray) -> list[list[float]]:
    """Boxes xyxy and score."""
    placed = list(merge(rows, GRID))
    assert len(placed) == len(rows)
    return [[*box, round(float(score), 2)] for row in placed for box, score in zip(row.boxes, row.scores, strict=True)]


NOTHING = row_of()


def test_boxes_are_in_pixels_of_the_raster():
    assert merged(row_of((1, 40, 40, 50, 60, 0.9, 0)), NOTHING) == [[100, 40, 110, 60, 0.9]]


def test_an_object_is_taken_from_the_tile_whose_core_has_its_center_whatever_the_scores():
    """The center (85, 50) is in the core of column 1, which begins at 80."""
    seen_twice = row_of((0, 75, 40, 95, 60, 0.9, 0), (1, 15, 40, 35, 60, 0.3, 0))
    assert merged(seen_twice, NOTHING) == [[75, 40, 95, 60, 0.3]]


def test_two_classes_in_one_place_remain():
    assert len(merged(row_of((0, 70, 40, 90, 60, 0.9, 0), (1, 10, 40, 30, 60, 0.3, 1)), NOTHING)) == 2


def test_an_object_at_a_border_that_each_tile_places_in_the_core_of_the_other_is_found_once():
    """The cores meet at x = 80; column 0 finds the center at 82, 18 px from its edge, column 1 at 78.5, 18.5 px."""
    detections = row_of((0, 72, 40, 92, 60, 0.5, 0), (1, 8, 40, 29, 60, 0.5, 0))
    assert merged(detections, NOTHING) == [[68, 40, 89, 60, 0.5]]


def test_a_center_far_outside_of_the_core_does_not_count():
    assert merged(row_of((0, 85, 40, 99, 60, 0.9, 0)), NOTHING) == []


def test_rows_of_tiles_are_merged_as_columns_are():
    above, below = row_of((0, 40, 75, 60, 95, 0.9, 0)), row_of((0, 40, 15, 60, 35, 0.3, 0))
    assert merged(above, below) == [[40, 75, 60, 95, 0.3]]


def test_a_box_cut_off_by_its_tile_is_replaced_by_the_complete_one():
    """An object from 75 to 135: column 0 shows it up to 100."""
    part, whole = (0, 75, 40, 100, 60, 0.9, 0), (1, 15, 40, 75, 60, 0.4, 0)
    assert merged(row_of(part, whole), NOTHING) == [[75, 40, 135, 60, 0.4]]


def test_boxes_end_at_the_border_of_the_raster_and_vanish_beyond_it():
    """The only tile begins 10 px left of the raster and above it."""
    beyond = row_of((0, 2, 40, 8, 60, 0.9, 0), (0, 5, 40, 60, 60, 0.9, 0))
    [placed] = merge([beyond], Grid(width=90, height=90, cell=20, tile=100, step=60, origin=(10, 10)))
    assert placed.boxes.tolist() == [[0, 30, 50, 50]]


def test_nothing_found():
    assert merged(NOTHING, NOTHING) == [] == merged()


@pytest.mark.parametrize("seed", range(4))
def test_merge_equals_comparing_all_pairs(seed):
    rng = np.random.default_rng(seed)
    rows = [noisy_row(rng, top) for top in GRID.tops]
    joined = sorted(merged(*rows))
    assert len(joined) > 20
    np.testing.assert_allclose(joined, sorted(all_pairs(rows)))


def noisy_row(rng: np.random.Generator, top: int) -> np.ndarray:
    """What a noisy detector finds of 80 objects in the tiles of a row."""
    objects = np.random.default_rng(7)
    corners, sides = objects.uniform(0, [GRID.width, GRID.height], (80, 2)), objects.uniform(5, 40, (80, 2))
    detections = []
    for column, left in enumerate(GRID.lefts):
        noise = rng.normal(0, 1, (80, 4))
        boxes = np.clip(np.concatenate([corners, corners + sides], axis=1) + noise - [left, top] * 2, 0, GRID.tile)
        for label, box in enumerate(boxes.round(2)):
            if box[2] - box[0] > 2 and box[3] - box[1] > 2:
                detections.append((column, *box, rng.random(), label % 2))
    return row_of(*detections)


def all_pairs(rows: list[np.ndarray]) -> list[list[float]]:
    """merge as a loop over all pairs of detections, with torchvision's IoU."""
    import torch

    everything = []
    for top, found in zip(GRID.tops, rows, strict=True):
        for record in found:
            left = int(GRID.lefts[record["column"]])
            box = record["box"].astype(float) + np.array([left, top, left, top])
            box[[0, 2]], box[[1, 3]] = box[[0, 2]].clip(0, GRID.width), box[[1, 3]].clip(0, GRID.height)
            x, y = (box[0] + box[2]) / 2 - left, (box[1] + box[3]) / 2 - top
            low_x, high_x = (-1 if left == 0 else 10), (101 if left == 120 else 90)
            low_y, high_y = (-1 if top == 0 else 10), (101 if top == 60 else 90)
            if not (low_x <= x < high_x and low_y <= y < high_y):
                continue
            edges = [left > 0, top > 0, left + 100 < GRID.width, top + 100 < GRID.height]
            local = [record["box"][0] <= 1, record["box"][1] <= 1, record["box"][2] >= 99, record["box"][3] >= 99]
            cut = any(inner and touches for inner, touches in zip(edges, local, strict=True))
            everything.append((-min(x, y, 100 - x, 100 - y), -record["score"], (left, top), record["label"], cut, box))
    everything.sort(key=lambda row: row[:2])
    boxes = torch.from_numpy(np.array([row[-1] for row in everything]))
    ious = box_iou(boxes, boxes).numpy()
    low, high = boxes[:, :2].numpy(), boxes[:, 2:].numpy()
    shared = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).clip(0).prod(axis=2)
    shares = shared / (high - low).prod(axis=1)[:, None]
    kept = [
        not any(
            cut and not other_cut and tile != other_tile and label == other_label and shares[i, j] >= 0.5
            for j, (_, _, other_tile, other_label, other_cut, _) in enumerate(everything)
        )
        for i, (_, _, tile, label, cut, _) in enumerate(everything)
    ]
    for i, (_, _, tile, label, _, _) in enumerate(everything):
        for j in range(i + 1, len(everything)):
            if kept[i] and tile != everything[j][2] and label == everything[j][3] and ious[i, j] >= 0.5:
                kept[j] = False
    return [[*row[-1], round(float(-row[1]), 2)] for row, keep in zip(everything, kept, strict=True) if keep]

from dataclasses import replace

import numpy as np
import pytest
from support.blobs import UTM, blob_detector, rectangles, scattered_boxes, write_raster

from retinanet.errors import RetinanetError
from retinanet.images.tiles import UNCUT
from retinanet.rasters.journal import FOUND, open_journal, read_rows
from retinanet.rasters.merging import merge
from retinanet.rasters.reading import open_raster
from retinanet.rasters.run import count_full, detect_rows, grid_for


def boxes_found(path, folder, detector=None, **grid_changes) -> tuple[list[list[float]], int]:
    """The sorted boxes of a raster, and the number of tiles that the network saw."""
    detector = detector or blob_detector()
    seen = []

    def run(images, sizes):
        seen.append(images.shape)
        assert sizes.tolist() == [[128, 128]]
        return detector.run(images, sizes)

    with open_raster(path) as raster:
        grid = replace(grid_for(raster, detector, window=1), **grid_changes)
        journal = open_journal(folder / f"{len(list(folder.iterdir()))}.journal", {})
        detect_rows(replace(detector, run=run), raster, grid, journal, lambda _: None)
        rows = list(merge(read_rows(journal.path), grid))
    assert set(seen) <= {(1, 128, 128, 3)}
    return sorted(np.concatenate([row.boxes for row in rows]).round(1).tolist()), len(seen)


@pytest.mark.parametrize("origin", [(0, 0), (1, 0), (17, 40), (47, 23)])
def test_each_object_is_found_once_wherever_the_grid_begins(tmp_path, origin):
    boxes = scattered_boxes(330, 410)
    path = write_raster(tmp_path / "a.tif", rectangles(330, 410, boxes))
    found, _ = boxes_found(path, tmp_path, origin=origin)
    assert len(found) == len(boxes)
    assert np.abs(np.array(found) - np.array(sorted(boxes))).max() <= 0.5


def test_a_raster_smaller_than_a_tile(tmp_path):
    path = write_raster(tmp_path / "a.tif", rectangles(20, 30, [[4, 5, 14, 15], [24, 12, 30, 20]]))
    assert boxes_found(path, tmp_path)[0] == [[4, 5, 14, 15], [24, 12, 30, 20]]


def test_tiles_without_data_are_skipped(tmp_path):
    pixels = rectangles(320, 320, [[300, 300, 310, 310]])
    pixels[280:, 280:] += 1
    _, all_tiles = boxes_found(write_raster(tmp_path / "a.tif", pixels), tmp_path)
    found, seen = boxes_found(write_raster(tmp_path / "b.tif", pixels, nodata=0), tmp_path)
    assert found == [[300, 300, 310, 310]] and seen <= 4 < all_tiles


def test_a_crop_of_a_georeferenced_raster_gives_the_same_boxes(tmp_path):
    """The crop lacks 37 columns and 61 rows; its tiles lie where those of the whole raster lie."""
    rng = np.random.default_rng(3)
    pixels = rectangles(330, 410, scattered_boxes(330, 410)) // 2
    pixels += rng.integers(0, 140, pixels.shape, dtype=np.uint8)  # noise, of which every tile shows another part
    whole = write_raster(tmp_path / "a.tif", pixels)
    crop = write_raster(tmp_path / "b.tif", pixels[61:, 37:], transform=UTM @ UTM.translation(37, 61))
    of_whole, of_crop = boxes_found(whole, tmp_path)[0], boxes_found(crop, tmp_path)[0]
    of_crop = sorted([x1 + 37, y1 + 61, x2 + 37, y2 + 61] for x1, y1, x2, y2 in of_crop)
    inside = [[box for box in boxes if box[0] > 101 and box[1] > 125] for boxes in (of_whole, of_crop)]
    assert inside[0] == inside[1] and len(inside[0]) > 50


def test_a_model_of_full_images_needs_a_tile_size(tmp_path):
    detector = replace(blob_detector(), tiling=UNCUT)
    with open_raster(write_raster(tmp_path / "a.tif", rectangles(200, 200, []))) as raster:
        with pytest.raises(RetinanetError, match=r"trained on full images, not on tiles: .* --tile"):
            grid_for(raster, detector)
        grid = grid_for(raster, detector, tile=100, window=1)
    assert (grid.network_side, grid.tile) == (128, 100)


def test_tiles_that_a_limit_may_have_cut_off_are_counted():
    found = np.zeros(90, FOUND)
    found["column"] = np.repeat([0, 1, 2], [30, 31, 29])
    found["score"] = 0.9
    found["score"][30] = 0.1
    assert count_full([found, found[:0]], lowest=0.5) == 1  # the second tile has a low score, the third too few

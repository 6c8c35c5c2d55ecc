import numpy as np
import pytest

from retinanet.errors import RetinanetError
from retinanet.images.preprocess import InputSize
from retinanet.rasters.grid import make_grid, pixel_anchor

INPUT = InputSize(640, 640)


def test_tiles_of_400_px_at_640_px_have_cells_of_20_px():
    grid = make_grid(1000, 700, 400, 0.25, INPUT)
    assert (grid.cell, grid.tile, grid.step, grid.network_side, grid.margin) == (20, 400, 300, 640, 50)
    assert grid.lefts.tolist() == [-50, 250, 550, 850]
    assert grid.tops.tolist() == [-50, 250, 550]


@pytest.mark.parametrize("tile", [33, 100, 257, 400, 513, 2000])
@pytest.mark.parametrize("side", [96, 320, 500, 800])
def test_tile_and_step_are_whole_cells_and_the_scale_is_nearly_that_of_training(tile, side):
    grid = make_grid(5000, 5000, tile, 0.25, InputSize(side, side))
    assert grid.tile % grid.cell == grid.step % grid.cell == 0
    assert grid.network_side % 32 == 0
    assert grid.network_side / grid.tile == pytest.approx(side / tile, rel=0.5 / grid.cell)


@pytest.mark.parametrize("origin", [(0, 0), (1, 299), (150, 20)])
def test_cores_cover_each_pixel_once(origin):
    grid = make_grid(1000, 700, 400, 0.25, INPUT, anchor=(-origin[0], -origin[1]))
    assert grid.origin == origin
    counts = np.zeros((grid.height, grid.width), int)
    for top in grid.tops + grid.margin:
        for left in grid.lefts + grid.margin:
            counts[max(0, top) : top + grid.step, max(0, left) : left + grid.step] += 1
    assert (counts == 1).all()


def test_an_overlap_that_leaves_no_core_is_an_error():
    with pytest.raises(RetinanetError, match="an overlap of 1 leaves nothing of a tile of 400 px"):
        make_grid(1000, 700, 400, 1.0, INPUT)


def test_two_rasters_of_one_pixel_grid_have_the_same_tiles():
    """The second raster is the first without its first 70 columns and 30 rows, of half a meter each."""
    first, second = (500_000.0, 4_000_000.0), (500_035.0, 3_999_985.0)
    grids = [make_grid(900, 900, 400, 0.25, INPUT, pixel_anchor((0.5, 0, x, 0, -0.5, y))) for x, y in (first, second)]
    assert set((grids[1].lefts + 70).tolist()) & set(grids[0].lefts.tolist())
    assert set((grids[1].tops + 30).tolist()) & set(grids[0].tops.tolist())


def test_a_rotated_raster_has_no_anchor():
    assert pixel_anchor((0.5, 0.1, 500_000.0, 0.1, -0.5, 4_000_000.0)) == (0, 0)

import numpy as np
import pytest

from retinanet.errors import RetinanetError
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.rasters.grid import make_grid, pixel_anchor

INPUT = InputSize(640, 640)
TILING = Tiling(400, 0.25)


def test_tiles_of_400_px_at_640_px_have_cells_of_20_px():
    grid = make_grid((1000, 700), TILING, INPUT, 1)
    assert (grid.cell, grid.tile, grid.step, grid.network_side) == (20, 400, 300, 640)
    assert grid.lefts.tolist() == [0, 300, 600]
    assert grid.tops.tolist() == [0, 300]


@pytest.mark.parametrize("tile", [33, 100, 257, 400, 513, 2000])
@pytest.mark.parametrize("side", [96, 320, 500, 800])
def test_tile_and_step_are_whole_cells_and_the_scale_is_nearly_that_of_training(tile, side):
    grid = make_grid((5000, 5000), Tiling(tile, 0.25), InputSize(side, side))
    assert grid.tile % grid.cell == grid.step % grid.cell == 0
    assert grid.network_side % 32 == 0
    assert grid.network_side / grid.tile == pytest.approx(side / tile, rel=0.5 / grid.cell)


@pytest.mark.parametrize("length", [390, 400, 405, 1000, 1013])
@pytest.mark.parametrize("origin", [0, 7, 20, 150, 299])
def test_tiles_overlap_cover_the_raster_and_reach_less_than_a_cell_beyond_it(length, origin):
    grid = make_grid((length, length), TILING, INPUT, 1, (-origin, -origin))
    begins = grid.lefts
    assert grid.origin == (origin, origin) and begins.tolist() == grid.tops.tolist()
    assert ((begins - origin) % grid.cell == 0).all()
    assert -grid.cell < begins[0] <= 0 and length <= begins[-1] + grid.tile < max(length, grid.tile) + grid.cell
    assert (np.diff(begins) <= grid.step).all() and (np.diff(begins) > 0).all()
    inside = begins[1:-1]
    assert ((inside - origin) % grid.step == 0).all()


def test_an_overlap_that_leaves_no_step_is_an_error():
    with pytest.raises(RetinanetError, match="an overlap of 1 leaves no step for a tile of 400 px"):
        make_grid((1000, 700), Tiling(400, 1.0), INPUT, 1)


def test_two_rasters_of_one_pixel_grid_have_the_same_tiles():
    """The second raster is the first without its first 70 columns and 30 rows, of half a meter each."""
    first, second = (500_000.0, 4_000_000.0), (500_035.0, 3_999_985.0)
    grids = [
        make_grid((1900, 1900), TILING, INPUT, 1, pixel_anchor((0.5, 0, x, 0, -0.5, y))) for x, y in (first, second)
    ]
    assert set((grids[1].lefts + 70).tolist()) & set(grids[0].lefts.tolist())
    assert set((grids[1].tops + 30).tolist()) & set(grids[0].tops.tolist())


def test_a_rotated_raster_has_no_anchor():
    assert pixel_anchor((0.5, 0.1, 500_000.0, 0.1, -0.5, 4_000_000.0)) == (0, 0)


def test_windows_are_as_large_as_the_raster_allows():
    sides = [make_grid(size, TILING, INPUT, 3).tile for size in ((5000, 5000), (5000, 900), (5000, 905), (300, 200))]
    assert sides == [1200, 900, 920, 400]

"""The grid of tiles that covers a raster, at one scale and one phase of the network's strides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retinanet.errors import RetinanetError
from retinanet.images.preprocess import MIN_INPUT_SIDE, MULTIPLE, InputSize, fit_scale

# An axis-aligned raster's transform: x = a column + c, y = e row + f.
Transform = Sequence[float]  # a, b, c, d, e, f


@dataclass(frozen=True)
class Grid:
    """Tiles of `tile` x `tile` px, every `step` px, over a raster of width x height px.

    Each tile has a core of step x step px in its middle. The cores cover the raster once and begin at multiples of step
    from the origin (x, y); the tiles overlap, and those at the border reach beyond the raster. A cell of `cell` px
    becomes MULTIPLE pixels of the network's input. Tile and step are multiples of the cell, so that a feature map of
    any tile samples the raster at the same places.
    """

    width: int
    height: int
    cell: int
    tile: int
    step: int
    origin: tuple[int, int] = (0, 0)

    @property
    def network_side(self) -> int:
        """Pixels of the network's input along a side of a tile."""
        return self.tile // self.cell * MULTIPLE

    @property
    def margin(self) -> int:
        """Pixels of a tile above and left of its core."""
        return (self.tile - self.step) // 2

    @property
    def lefts(self) -> np.ndarray:
        """The left edges of the columns of tiles, in pixels of the raster; the first may be negative."""
        return _begins(self.width, self.origin[0], self.step) - self.margin

    @property
    def tops(self) -> np.ndarray:
        return _begins(self.height, self.origin[1], self.step) - self.margin


def make_grid(
    width: int, height: int, tile: int, overlap: float, input_size: InputSize, anchor: tuple[int, int] = (0, 0)
) -> Grid:
    """The grid for a network that was trained on tiles of `tile` px, resized to input_size, which overlap by a share.

    The side of a tile is rounded to whole cells. anchor is the raster's corner on the pixel grid that its cores are
    counted in: two rasters of one pixel grid get the same tiles where they overlap. Raises RetinanetError if the
    overlap leaves no core.
    """
    scale = fit_scale(tile, tile, *input_size)
    cell = max(1, round(MULTIPLE / scale))
    cells = max(MIN_INPUT_SIDE // MULTIPLE, round(tile / cell))
    step = int(cells * (1 - overlap) + 1e-9)  # 10 * (1 - 0.3) is just below 7
    if step < 1:
        raise RetinanetError(f"an overlap of {overlap:g} leaves nothing of a tile of {cells * cell} px; choose less")
    origin = (-anchor[0]) % (step * cell), (-anchor[1]) % (step * cell)
    return Grid(width, height, cell, cells * cell, step * cell, origin)


def pixel_anchor(transform: Transform) -> tuple[int, int]:
    """The column and row of a raster's corner on the pixel grid that begins at the origin of its coordinates.

    (0, 0) for a rotated raster.
    """
    a, b, c, d, e, f = transform[:6]
    return (0, 0) if b or d else (round(c / a), round(f / e))


def _begins(length: int, origin: int, step: int) -> np.ndarray:
    return np.arange(origin - -(-origin // step) * step, length, step)

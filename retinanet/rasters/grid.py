"""The grid of tiles that covers a raster, at one scale and one phase of the network's strides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retinanet.errors import RetinanetError
from retinanet.images.preprocess import MIN_INPUT_SIDE, MULTIPLE, InputSize, fit_scale
from retinanet.images.tiles import Tiling

DEFAULT_WINDOW = 2

# An axis-aligned raster's transform: x = a column + c, y = e row + f.
Transform = Sequence[float]  # a, b, c, d, e, f


@dataclass(frozen=True)
class Grid:
    """Tiles of `tile` x `tile` px, every `step` px from the origin (x, y), over a raster of width x height px.

    A cell of `cell` px becomes MULTIPLE pixels of the network's input. Tile and step are multiples of the cell, so that
    a feature map of any tile samples the raster at the same places. Tiles at the border are moved inside by whole
    cells: what lies beyond the border changes what a network finds, by the statistics of its group norms.
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
    def lefts(self) -> np.ndarray:
        """The left edges of the columns of tiles, in pixels of the raster; the first may be up to a cell beyond it."""
        return self._begins(self.width, self.origin[0])

    @property
    def tops(self) -> np.ndarray:
        return self._begins(self.height, self.origin[1])

    def _begins(self, length: int, origin: int) -> np.ndarray:
        phase = origin % self.cell
        first = phase - self.cell if phase else 0  # the last whole cell that begins at the border or before it
        last = max(first, first + -(-(length - first - self.tile) // self.cell) * self.cell)
        every = np.arange(origin - -(-(origin + self.tile) // self.step) * self.step, length, self.step)
        return np.unique(every.clip(first, last))


def make_grid(
    size: tuple[int, int],
    trained: Tiling,
    input_size: InputSize,
    window: int = DEFAULT_WINDOW,
    anchor: tuple[int, int] = (0, 0),
) -> Grid:
    """The grid over a raster of size (width, height) for a network that was trained on tiles resized to input_size.

    The grid's tiles have the scale of those, rounded to whole cells, overlap by the same share, and are up to `window`
    times as large, so that fewer objects lie near their edges, but not larger than the raster. anchor is the raster's
    corner on the pixel grid that tiles are counted in: two rasters of one pixel grid get the same tiles where they
    overlap, except at their borders. Raises RetinanetError if the overlap leaves no step.
    """
    scale = fit_scale(trained.size, trained.size, *input_size)
    cell = max(1, round(MULTIPLE / scale))
    cells = max(MIN_INPUT_SIDE // MULTIPLE, round(trained.size / cell))
    cells = min(cells * window, max(cells, -(-min(size) // cell)))
    step = int(cells * (1 - trained.overlap) + 1e-9)  # 10 * (1 - 0.3) is just below 7
    if step < 1:
        tile = f"a tile of {cells * cell} px"
        raise RetinanetError(f"an overlap of {trained.overlap:g} leaves no step for {tile}; choose less with --overlap")
    origin = (-anchor[0]) % (step * cell), (-anchor[1]) % (step * cell)
    return Grid(*size, cell, cells * cell, step * cell, origin)


def pixel_anchor(transform: Transform) -> tuple[int, int]:
    """The column and row of a raster's corner on the pixel grid that begins at the origin of its coordinates.

    (0, 0) for a rotated raster.
    """
    a, b, c, d, e, f = transform[:6]
    return (0, 0) if b or d else (round(c / a), round(f / e))

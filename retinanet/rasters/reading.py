"""Read a raster from top to bottom as 8-bit RGB: each pixel once, in a limited amount of memory."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from retinanet.errors import ImageError, RetinanetError
from retinanet.rasters.grid import Grid

# Rows that are converted to 8 bit at a time.
ROWS = 64
# One part of the memory in so many is for GDAL's decoded blocks: a row of them is enough, as each is read once.
CACHE_SHARE = 8
SAMPLE = 1024  # px, side of the window in the middle whose values suggest limits


class Strip(NamedTuple):
    """The pixels of one row of tiles, (tile, W, 3) uint8, and whether each of them holds data, (tile, W) bool.

    It begins at the left edge of the first tile. Pixels without data, as those beyond the raster, have the padding
    color. The next strip overwrites the arrays.
    """

    pixels: np.ndarray
    has_data: np.ndarray


@dataclass(frozen=True)
class Raster:
    """An open raster: bands are the numbers of its red, green and blue band, from 1.

    limits are the values that become 0 and 255; None for 8-bit bands, which are taken as they are. memory is the number
    of bytes for decoded blocks and a strip.
    """

    path: Path
    dataset: DatasetReader
    bands: tuple[int, int, int]
    limits: tuple[float, float] | None
    memory: int

    @property
    def width(self) -> int:
        return int(self.dataset.width)

    @property
    def height(self) -> int:
        return int(self.dataset.height)

    @property
    def crs(self) -> str | None:
        """EPSG:..., or WKT; None for a raster without a coordinate system."""
        return str(self.dataset.crs.to_string()) if self.dataset.crs else None

    @property
    def transform(self) -> tuple[float, ...]:
        """a, b, c, d, e, f: x = a column + b row + c, y = d column + e row + f."""
        return tuple(float(number) for number in self.dataset.transform[:6])

    def key(self) -> dict[str, object]:
        """What tells apart the pixels of two rasters, or of one before and after a change, as JSON."""
        stat = self.path.stat()
        return {
            "size": [self.width, self.height],
            "bytes": stat.st_size,
            "modified": stat.st_mtime_ns,
            "bands": list(self.bands),
            "limits": list(self.limits) if self.limits else None,
            "crs": self.crs,
            "transform": list(self.transform),
        }


@contextmanager
def open_raster(
    path: Path, bands: Sequence[int] = (), limits: tuple[float, float] | None = None, memory: int = 512_000_000
) -> Iterator[Raster]:
    """Open a raster in any of GDAL's formats. Without bands, the first three are red, green and blue, or one is gray.

    Raises ImageError if it cannot be read as RGB.
    """
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=memory // CACHE_SHARE):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(path)
        except RasterioError as error:
            reason = "no such file" if not path.exists() else f"GDAL cannot open it as a raster ({error})"
            raise ImageError(f"{path}: {reason}") from error
        with dataset:
            chosen = _chosen_bands(path, dataset, bands)
            _check_values(path, dataset, chosen, limits)
            yield Raster(path, dataset, chosen, limits, memory)


def strips(raster: Raster, grid: Grid, padding: Sequence[int], first_row: int = 0) -> Iterator[Strip]:
    """The strips of the grid's rows of tiles, from the top or from first_row. Raises ImageError for damaged pixels."""
    lefts, tops = grid.lefts.tolist(), grid.tops.tolist()
    left, width = lefts[0], lefts[-1] + grid.tile - lefts[0]
    _check_memory(raster, grid, width)
    color = np.asarray(padding, np.uint8)
    strip = Strip(np.empty((grid.tile, width, 3), np.uint8), np.zeros((grid.tile, width), bool))
    kept = 0  # rows of the strip before that this one has too
    for top, next_top in zip(tops[first_row:], [*tops[first_row + 1 :], None], strict=True):
        if kept:
            for array in strip:
                array[:kept] = array[-kept:].copy()
        strip.pixels[kept:] = color
        strip.has_data[kept:] = False
        bottom = min(top + grid.tile, raster.height)
        for row in range(max(0, top + kept), bottom, ROWS):
            rows = min(ROWS, bottom - row)
            pixels, has_data = _read(raster, row, rows)
            pixels[~has_data] = color
            place = slice(row - top, row - top + rows), slice(-left, raster.width - left)
            strip.pixels[place], strip.has_data[place] = pixels, has_data
        yield strip
        kept = 0 if next_top is None else max(0, top + grid.tile - next_top)


def _read(raster: Raster, row: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows as (rows, W, 3) uint8, and which of their pixels hold data."""
    dataset, window = raster.dataset, Window(0, row, raster.width, rows)
    try:
        values = dataset.read(sorted(set(raster.bands)), window=window)
        all_valid = all(MaskFlags.all_valid in flags for flags in dataset.mask_flag_enums)
        has_data = np.ones(values.shape[1:], bool) if all_valid else dataset.dataset_mask(window=window) > 0
    except RasterioError as error:
        reason = error.__cause__ or error
        raise ImageError(f"{raster.path}: damaged or truncated near row {row} ({reason}); fetch it again") from error
    if raster.limits:
        low, high = raster.limits
        if np.issubdtype(values.dtype, np.floating):
            has_data &= np.isfinite(values).all(axis=0)
        scaled = (values.astype(np.float32) - low) * (255 / (high - low))
        values = np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8)
    order = [sorted(set(raster.bands)).index(band) for band in raster.bands]
    return np.ascontiguousarray(values[order].transpose(1, 2, 0)), has_data


def _chosen_bands(path: Path, dataset: DatasetReader, bands: Sequence[int]) -> tuple[int, int, int]:
    if unknown := [band for band in bands if not 1 <= band <= dataset.count]:
        raise ImageError(f"{path}: has {dataset.count} bands and no band {unknown[0]}; choose others with --bands")
    if ColorInterp.palette in dataset.colorinterp:
        raise ImageError(f"{path}: has palette colors; convert it with gdal_translate -expand rgb")
    colors = [
        band for band, kind in zip(dataset.indexes, dataset.colorinterp, strict=True) if kind != ColorInterp.alpha
    ]
    chosen = list(bands) or (colors[:3] if len(colors) >= 3 else colors[:1])
    red, green, blue = chosen if len(chosen) == 3 else chosen * 3
    return red, green, blue


def _check_values(path: Path, dataset: DatasetReader, bands: Sequence[int], limits: tuple[float, float] | None) -> None:
    kinds = {dataset.dtypes[band - 1] for band in bands}
    if any(np.issubdtype(kind, np.complexfloating) for kind in kinds):
        raise ImageError(f"{path}: has complex numbers; convert it to 8 or 16 bit")
    if kinds != {"uint8"} and limits is None:
        side_x, side_y = min(SAMPLE, dataset.width), min(SAMPLE, dataset.height)
        middle = Window((dataset.width - side_x) // 2, (dataset.height - side_y) // 2, side_x, side_y)
        values = dataset.read(list(bands), window=middle, masked=True).compressed()
        values = values[np.isfinite(values)]
        example = ",".join(f"{value:g}" for value in np.quantile(values, [0.02, 0.98])) if len(values) else "0,65535"
        raise ImageError(
            f"{path}: has {' and '.join(sorted(kinds))} bands; give the values that become black and white, "
            f"e.g. --range {example} (the middle 96% of the values in its middle)"
        )


def _check_memory(raster: Raster, grid: Grid, width: int) -> None:
    strip = grid.tile * width * 4
    dataset = raster.dataset
    pixel = sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    row_of_blocks = dataset.block_shapes[0][0] * dataset.width * pixel
    needed = max(2 * strip, CACHE_SHARE * row_of_blocks)
    if needed > raster.memory:
        block = " x ".join(map(str, dataset.block_shapes[0][::-1]))
        raise RetinanetError(
            f"{raster.path}: reading it in blocks of {block} px takes {needed / 1e6:.0f} MB; "
            f"allow them with --memory {-(-needed // 1_000_000)}, or convert it to a tiled GeoTIFF"
        )

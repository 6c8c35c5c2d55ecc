"""Detect the objects of a raster, row of tiles by row of tiles."""

from collections.abc import Callable, Iterable

import numpy as np

from retinanet.errors import RetinanetError
from retinanet.images.preprocess import resize_to
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.rasters.grid import DEFAULT_WINDOW, Grid, make_grid, pixel_anchor
from retinanet.rasters.journal import FOUND, Journal, add_row
from retinanet.rasters.reading import Raster, Strip, strips

# Among so many detections of a tile, some have low scores, unless the model's limits keep only the best.
MIN_FULL = 30


def grid_for(
    raster: Raster,
    detector: Detector,
    tile: int | None = None,
    overlap: float | None = None,
    window: int = DEFAULT_WINDOW,
) -> Grid:
    """The grid over a raster; tile and overlap are by default those that the model was trained on.

    Raises RetinanetError for a model that was trained on images of any size, unless `tile` is given.
    """
    trained = detector.tiling if detector.tiling.size else Tiling(0, 0.25)
    size = tile or trained.size
    if not size:
        raise RetinanetError(
            "the model was trained on full images, not on tiles: give the side in raster pixels of the area that looks "
            "like one of those images with --tile"
        )
    tiling = Tiling(size, trained.overlap if overlap is None else overlap)
    anchor = pixel_anchor(raster.transform)
    return make_grid((raster.width, raster.height), tiling, detector.input_size, window, anchor)


def detect_rows(
    detector: Detector, raster: Raster, grid: Grid, journal: Journal, done: Callable[[int], object]
) -> None:
    """Add what is found in the remaining rows of tiles to the journal. done is called with 1 after each tile.

    Tiles without data are skipped. Raises ImageError for damaged pixels.
    """
    offsets = (grid.lefts - grid.lefts[0]).tolist()
    remaining = strips(raster, grid, detector.padding, journal.rows)
    for row, strip in enumerate(remaining, start=journal.rows):
        found = [np.empty(0, FOUND)]
        for column, left in enumerate(offsets):
            found.append(_detect(detector, grid, strip, column, left))
            done(1)
        add_row(journal.path, row, np.concatenate(found))


def count_full(rows: Iterable[np.ndarray], lowest: float) -> int:
    """The tiles whose every detection has at least the score `lowest`, as if a limit on their number cut off others."""
    full = 0
    for found in rows:
        for column in np.unique(found["column"]):
            scores = found["score"][found["column"] == column]
            full += bool(len(scores) >= MIN_FULL and scores.min() >= lowest)
    return full


def _detect(detector: Detector, grid: Grid, strip: Strip, column: int, left: int) -> np.ndarray:
    place = slice(None), slice(left, left + grid.tile)
    if not strip.has_data[place].any():
        return np.empty(0, FOUND)
    detections = _detect_tile(detector, strip.pixels[place], grid.network_side)
    found = np.empty(len(detections), FOUND)
    found["column"], found["label"] = column, detections.labels
    found["score"], found["box"] = detections.scores, detections.boxes_xyxy
    return found


def _detect_tile(detector: Detector, pixels: np.ndarray, side: int) -> Detections:
    """Detections in pixels of a tile (T, T, 3), which becomes side x side px for the network."""
    batch = resize_to(np.ascontiguousarray(pixels), (side, side))[None]
    [detections] = detector.run(batch, np.array([[side, side]], np.int64))
    return detections.resized((side, side), (pixels.shape[0], pixels.shape[1]))

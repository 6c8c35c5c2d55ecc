"""`retinanet map`: a raster in, a layer of detections out; a run that was stopped continues."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

import retinanet
from retinanet.files import sha256_of
from retinanet.inference.detector import Detector
from retinanet.rasters.features import write_features
from retinanet.rasters.grid import Grid
from retinanet.rasters.journal import Journal, open_journal, read_rows
from retinanet.rasters.merging import merge
from retinanet.rasters.reading import Raster
from retinanet.rasters.run import count_full, detect_rows


def map_raster(
    detector: Detector,
    model: tuple[str, str],
    raster: Raster,
    grid: Grid,
    scores: float | Sequence[float],
    out: Path,
) -> dict[str, int]:
    """Write the detections in a raster to `out`; returns the number of each class. model is its name and its digest.

    Until then, the finished rows of tiles are in a journal beside `out`. A later call continues it, unless the model,
    the raster or the grid have changed.
    """
    name, digest = model
    key: dict[str, object] = {"format": 1, "retinanet": retinanet.__version__, "model": digest, "raster": raster.key()}
    # As in the file: lists, not tuples.
    grid_key = asdict(grid) | {"origin": list(grid.origin)}
    journal = open_journal(out.with_name(f"{out.name}.journal"), key | {"grid": grid_key})
    rows, columns = len(grid.tops), len(grid.lefts)
    _print_state(journal, rows)
    with _progress(rows * columns, journal.rows * columns) as progress:
        try:
            detect_rows(detector, raster, grid, journal, progress.update)
        except KeyboardInterrupt:
            progress.close()
            done = f"{progress.n // columns} of {rows} rows of tiles are kept in {journal.path}"
            print(f"{done}; the same command continues", file=sys.stderr)
            raise
    if full := count_full(read_rows(journal.path), min(detector.thresholds)):
        print(
            f"warning: {full} tiles have as many objects as the model finds at most, others may be missing; "
            "choose --window 1, or raise evaluate.detections_per_image and candidates_per_level and export again",
            file=sys.stderr,
        )
    found = merge(read_rows(journal.path), grid)
    counts = write_features(out, found, scores, detector.class_names, name, raster.crs, raster.transform)
    journal.path.unlink()
    return counts


def model_digest(path: Path) -> str:
    """The sha256 of a model file, and of the weights of an exported model beside it: ONNX's large ones, OpenVINO's."""
    files = (path, path.with_name(f"{path.name}.data"), path.with_suffix(".bin"))
    digests = [sha256_of(file) for file in files if file.exists()]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _print_state(journal: Journal, rows: int) -> None:
    if journal.changed:
        changed = ", ".join(journal.changed)
        print(f"starting again: not the {changed} that {journal.path} was begun with", flush=True)
    elif journal.rows:
        print(f"continuing after {journal.rows} of {rows} rows of tiles: {journal.path}", flush=True)


def _progress(total: int, done: int) -> tqdm:
    # A log file gets a line in a minute instead of ten in a second.
    interval = 0.1 if sys.stderr.isatty() else 60
    return tqdm(total=total, initial=done, unit=" tiles", mininterval=interval, delay=1, leave=False, file=sys.stderr)

"""Whether what is found in a raster depends on where the grid of tiles begins, and what a large raster takes.

    uv run python -m benchmarks.rasters origins [--side 2400] [--origins 20]
    uv run python -m benchmarks.rasters large [--side 20000] [--kills 3]

The raster is a mosaic of the aerial photographs of `dvc repro download`, turned and mirrored; the model is this
workspace's, or --model. `origins` begins the grid at random places, or cuts random rows and columns off the raster. It
prints the share of boxes that are found again with an IoU of at least 0.9, and by how much their number differs.
`large` runs `retinanet map` in a process of its own, killed and continued, and prints the time, the memory, and whether
the result is that of a run that was not killed.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window

from retinanet.export.runtimes import load_detector
from retinanet.images.boxes import iou
from retinanet.images.reading import read_image
from retinanet.inference.detector import Detector
from retinanet.rasters.grid import DEFAULT_WINDOW, Grid
from retinanet.rasters.journal import open_journal, read_rows
from retinanet.rasters.merging import merge
from retinanet.rasters.reading import open_raster
from retinanet.rasters.run import detect_rows, grid_for

PHOTOGRAPHS = Path("data/raw")
MIN_SIDE = 1000  # px of the photographs that are used
TRANSFORM = Affine(0.1, 0, 500_000, 0, -0.1, 4_978_000)
SAME_IOU = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["origins", "large"])
    parser.add_argument("--model", type=Path, default=Path("models/export/model.onnx"))
    parser.add_argument("--side", type=int)
    parser.add_argument("--origins", type=int, default=20)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--overlap", type=float)
    parser.add_argument("--window", type=int, default=DEFAULT_WINDOW)
    parser.add_argument("--kills", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosaic.tif"
        if args.what == "origins":
            write_mosaic(path, args.side or 2400)
            compare_origins(load_detector(args.model), path, args)
        else:
            write_mosaic(path, args.side or 20_000)
            map_large(args.model, path, args.kills, args.tile)


def write_mosaic(path: Path, side: int) -> None:
    photographs = [read_image(file) for file in sorted(PHOTOGRAPHS.rglob("*.png"))]
    photographs = [image for image in photographs if min(image.shape[:2]) >= MIN_SIDE]
    settings = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": side, "height": side, "crs": "EPSG:32612"}
    settings |= {"tiled": True, "compress": "deflate", "photometric": "RGB", "transform": TRANSFORM}
    with rasterio.open(path, "w", **settings) as file:
        for number, (left, top, width, height) in enumerate(_places(side)):
            image = np.rot90(photographs[number % len(photographs)], number // 2 % 4)
            image = image[:height, :width] if number % 3 else image[:height, :width][:, ::-1]
            file.write(image.transpose(2, 0, 1), window=Window(left, top, image.shape[1], image.shape[0]))


def _places(side: int) -> Iterator[tuple[int, int, int, int]]:
    """left, top, width and height of the photographs in the mosaic, which all are cut to the same size."""
    for top in range(0, side, MIN_SIDE):
        for left in range(0, side, MIN_SIDE):
            yield left, top, min(MIN_SIDE, side - left), min(MIN_SIDE, side - top)


def compare_origins(detector: Detector, path: Path, args: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)

    def grid_of(file: Path) -> Grid:
        with open_raster(file) as raster:
            return grid_for(raster, detector, args.tile, args.overlap, args.window)

    grid, begin = grid_of(path), time.perf_counter()
    reference = found_in(detector, path, grid)
    tiles = len(grid.lefts) * len(grid.tops)
    speed = tiles / (time.perf_counter() - begin)
    print(f"{grid}\n{len(reference[0])} boxes, {tiles} tiles, {speed:.1f} tiles/s\n", flush=True)
    print("| grid begins | found again, mean | least | number of boxes, mean difference | largest |")
    print("| --- | --- | --- | --- | --- |")
    corners = rng.integers(0, grid.step, (args.origins, 2)).tolist()
    cells = (rng.integers(0, grid.step // grid.cell, (args.origins, 2)) * grid.cell).tolist()
    crops = rng.integers(1, grid.step, (args.origins, 2)).tolist()
    pairs = []
    for x, y in crops:
        crop = write_crop(path, x, y)
        after = found_in(detector, crop, grid_of(crop), (x, y))
        # The first tile beside the cut shows other pixels.
        begin_x, begin_y = x + grid.tile, y + grid.tile
        pairs.append((right_and_below(reference, begin_x, begin_y), right_and_below(after, begin_x, begin_y)))
    _print_row("at the corner of a raster cut off at any pixel", pairs)
    for name, origins in (("at any cell of the network", cells), ("at any pixel", corners)):
        found = [found_in(detector, path, replace(grid, origin=(x, y))) for x, y in origins]
        _print_row(name, [(reference, after) for after in found])


Boxes = tuple[np.ndarray, np.ndarray]  # (D, 4) xyxy and labels (D,)


def found_in(detector: Detector, path: Path, grid: Grid, corner: tuple[int, int] = (0, 0)) -> Boxes:
    """The boxes that count, moved by a corner."""
    with tempfile.TemporaryDirectory() as folder, open_raster(path) as raster:
        journal = open_journal(Path(folder) / "a.journal", {})
        detect_rows(detector, raster, grid, journal, lambda _: None)
        rows = list(merge(read_rows(journal.path), grid))
    boxes, scores, labels = (np.concatenate([row[i] for row in rows]) for i in range(3))
    counts = scores >= np.asarray(detector.thresholds)[labels]
    return boxes[counts] + np.tile(corner, 2), labels[counts]


def write_crop(path: Path, x: int, y: int) -> Path:
    """The raster without its first x columns and y rows, in its place on the earth."""
    crop = path.with_name("crop.tif")
    with rasterio.open(path) as whole:
        window = Window(x, y, whole.width - x, whole.height - y)
        settings = whole.profile | {"width": whole.width - x, "height": whole.height - y}
        with rasterio.open(crop, "w", **settings | {"transform": whole.window_transform(window)}) as file:
            file.write(whole.read(window=window))
    return crop


def right_and_below(found: Boxes, x: int, y: int) -> Boxes:
    inside = (found[0][:, :2] >= [x, y]).all(axis=1)
    return found[0][inside], found[1][inside]


def _print_row(name: str, pairs: list[tuple[Boxes, Boxes]]) -> None:
    shares = [same_share(before, after) for before, after in pairs]
    differences = [abs(len(after[0]) - len(before[0])) / max(len(before[0]), 1) for before, after in pairs]
    cells = [np.mean(shares), np.min(shares), np.mean(differences), np.max(differences)]
    print(f"| {name} | {' | '.join(f'{cell:.2%}' for cell in cells)} |", flush=True)


def same_share(before: Boxes, after: Boxes) -> float:
    """The share of the larger set of boxes that have a partner of their own in the other."""
    overlaps = iou(before[0][:, None], after[0])
    overlaps[before[1][:, None] != after[1]] = 0
    pairs = np.argwhere(overlaps >= SAME_IOU)
    free_before, free_after = np.ones(len(before[0]), bool), np.ones(len(after[0]), bool)
    for a, b in pairs[np.argsort(-overlaps[tuple(pairs.T)])]:
        if free_before[a] and free_after[b]:
            free_before[a] = free_after[b] = False
    most = max(len(before[0]), len(after[0]))
    return float((~free_before).sum() / most) if most else 1.0


def map_large(model: Path, path: Path, kills: int, tile: int | None) -> None:
    print(f"{path.stat().st_size / 1e6:.0f} MB\n", flush=True)
    print("| run | time | memory of all runs so far, at most |\n| --- | --- | --- |")
    results = []
    for name, stops in (("killed", kills), ("not killed", 0)):
        begin, out = time.perf_counter(), path.with_name(f"{name}.gpkg")
        command = [sys.executable, "-m", "retinanet.cli.main", "map", str(path)]
        command += ["--model", str(model), "--out", str(out), *([] if tile is None else ["--tile", str(tile)])]
        for stop in range(stops):
            _kill_after(subprocess.Popen(command), out.with_name(f"{out.name}.journal"), rows=10 * (stop + 1))
        subprocess.run(command, check=True)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        print(f"| {name} | {time.perf_counter() - begin:.0f} s | {memory:.0f} MB |", flush=True)
        results.append(pyogrio.raw.read(out))
    first, second = results
    same = first[0]["crs"] == second[0]["crs"] and first[2].tolist() == second[2].tolist()
    same = same and all(a.tolist() == b.tolist() for a, b in zip(first[3], second[3], strict=True))
    print(f"\n{len(first[2])} polygons, {first[0]['crs']}: {'the same' if same else 'NOT the same'}")


def _kill_after(process: subprocess.Popen, journal: Path, rows: int) -> None:
    while not journal.exists() or journal.read_bytes().count(b"\n") <= rows:
        if process.poll() is not None:
            raise RuntimeError(f"the run ended by itself, with code {process.returncode}")
        time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    main()

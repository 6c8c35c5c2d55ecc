"""A detector of bright rectangles, and rasters of them. As a program, it maps a raster slowly, to be killed."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.transform import Affine

from retinanet.cli.mapping import map_raster
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.rasters.reading import open_raster
from retinanet.rasters.run import grid_for

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)  # half a meter per pixel, north up


def blob_detector(seconds: float = 0.0) -> Detector:
    """Finds the rectangles of one brightness, which is their score; trained on tiles of 64 px, at twice their size.

    seconds are what it takes for an image.
    """

    def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        time.sleep(seconds)
        return [_blobs(image[:, :, 0]) for image in images]

    return Detector(run, ("blob",), (1,), InputSize(128, 128), (0, 0, 0), (0.5,), Tiling(64, 0.25))


def _blobs(gray: np.ndarray) -> Detections:
    _, labels, stats, _ = cv2.connectedComponentsWithStats((gray > 60).astype(np.uint8))
    left, top, width, height = stats[1:, :4].T
    boxes = np.stack([left, top, left + width, top + height], axis=1).astype(np.float32)
    scores = np.array([np.median(gray[labels == i + 1]) for i in range(len(boxes))], np.float32) / 255
    return Detections(boxes, scores, np.zeros(len(boxes), np.int64))


def write_raster(path: Path, pixels: np.ndarray, **profile: object) -> Path:
    """Write (H, W, bands) as a GeoTIFF, by default in UTM zone 12."""
    height, width, count = pixels.shape
    georeference = {"crs": "EPSG:32612", "transform": UTM}
    settings = {"driver": "GTiff", "dtype": pixels.dtype, **georeference, **profile}
    with rasterio.open(path, "w", width=width, height=height, count=count, **settings) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


def rectangles(height: int, width: int, boxes: Sequence[Sequence[int]]) -> np.ndarray:
    """(H, W, 3) black, with a rectangle of brightness 200 for each box xyxy."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 200
    return pixels


def scattered_boxes(height: int, width: int, seed: int = 0) -> list[list[int]]:
    """One box of 4 to 12 px in each square of 20 px, anywhere in it, at least 2 px from the others."""
    rng = np.random.default_rng(seed)
    boxes = []
    for top in range(0, height - 20, 20):
        for left in range(0, width - 20, 20):
            w, h = (int(side) for side in rng.integers(4, 13, 2))
            x, y = left + int(rng.integers(1, 20 - w)), top + int(rng.integers(1, 20 - h))
            boxes.append([x, y, x + w, y + h])
    return boxes


def map_blobs(path: Path, out: Path, seconds: float = 0.0, digest: str = "1") -> dict[str, int]:
    detector = blob_detector(seconds)
    with open_raster(path) as raster:
        grid = grid_for(raster, detector, window=1)
        return map_raster(detector, ("blobs", digest), raster, grid, detector.thresholds, out)


if __name__ == "__main__":
    print(map_blobs(Path(sys.argv[1]), Path(sys.argv[2]), seconds=float(sys.argv[3])))

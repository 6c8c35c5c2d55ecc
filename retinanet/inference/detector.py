"""Images in, Detections out, with any runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retinanet.images.preprocess import InputSize, fitted_size, pad_batch, resize_to
from retinanet.images.reading import STANDARD_READING, Reading
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.tiling import cut, join

# Runs a network: (images (N, H, W, 3) uint8, sizes (N, 2) int64: height, width inside the padding) -> N Detections in
# input pixels.
RunNetwork = Callable[[np.ndarray, np.ndarray], list[Detections]]
# The input pixels of a batch are limited so that the feature maps of many images or tiles fit into memory.
MAX_BATCH_PIXELS = 2_000_000


@dataclass(frozen=True)
class Detector:
    """Call it with RGB images (H, W, 3) uint8 of any sizes; it returns one Detections per image, in its pixels.

    Their scores are above the model's evaluate.score_threshold. thresholds (K,) are the scores from which detections of
    each class count, chosen on val: detections.above(detector.thresholds). reading is how image files were read for
    training: read_image(path, detector.reading).

    Images larger than the tiles that the network was trained on are cut into such tiles, and the tiles' detections are
    merged.
    """

    run: RunNetwork
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    input_size: InputSize
    padding: tuple[int, int, int]
    thresholds: tuple[float, ...]
    tiling: Tiling = UNCUT
    reading: Reading = STANDARD_READING

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        regions = [cut(image.shape[0], image.shape[1], self.tiling) for image in images]
        tiles = [
            image[region.top : region.bottom, region.left : region.right]
            for image, image_regions in zip(images, regions, strict=True)
            for region in image_regions
        ]
        tile_detections = iter(self._detect_uncut(tiles))
        by_image = [[next(tile_detections) for _ in image_regions] for image_regions in regions]
        return [
            join(image_regions, found) if len(image_regions) > 1 else found[0]
            for image_regions, found in zip(regions, by_image, strict=True)
        ]

    def _detect_uncut(self, images: Sequence[np.ndarray]) -> list[Detections]:
        sizes = [fitted_size(image.shape[0], image.shape[1], self.input_size) for image in images]
        detections = [Detections.empty()] * len(images)
        # Only images of one size share a batch: detections must not depend on the other images of a batch.
        for size in dict.fromkeys(sizes):
            same_size = [i for i, other in enumerate(sizes) if other == size]
            batch_size = max(1, MAX_BATCH_PIXELS // (size[0] * size[1]))
            for rows in (same_size[first : first + batch_size] for first in range(0, len(same_size), batch_size)):
                batch = pad_batch([resize_to(images[i], size) for i in rows], self.padding)
                inside = np.array([size] * len(rows), np.int64)
                for i, found in zip(rows, self.run(batch, inside), strict=True):
                    detections[i] = found.resized(size, images[i].shape[:2])
        return detections

"""Images in, Detections out, whatever runtime is underneath."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retinanet.images.preprocess import InputSize, fitted_size, pad_batch, resize_to
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.tiling import cut, join

# What runs a network: (images (N, H, W, 3) uint8, sizes (N, 2) int64) -> N Detections in input pixels.
RunNetwork = Callable[[np.ndarray, np.ndarray], list[Detections]]
# Pixels of network input at a time, so that the maps of many images, or of one's many tiles, find room in memory.
BATCH_PIXELS = 2_000_000


@dataclass(frozen=True)
class Detector:
    """Call it with RGB images (H, W, 3) uint8 of any sizes; boxes come back in pixels of each.

    Images larger than the tiles that the network learned from are cut likewise, and what was found is put together.
    """

    run: RunNetwork
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    input_size: InputSize
    padding: tuple[int, int, int]
    tiling: Tiling = UNCUT

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        regions = [cut(image.shape[0], image.shape[1], self.tiling) for image in images]
        tiles = [
            image[region.top : region.bottom, region.left : region.right]
            for image, of_image in zip(images, regions, strict=True)
            for region in of_image
        ]
        found = iter(self._whole(tiles))
        each = [[next(found) for _ in of_image] for of_image in regions]
        return [
            join(of_image, in_tiles) if len(of_image) > 1 else in_tiles[0]
            for of_image, in_tiles in zip(regions, each, strict=True)
        ]

    def _whole(self, images: Sequence[np.ndarray]) -> list[Detections]:
        sizes = [fitted_size(image.shape[0], image.shape[1], self.input_size) for image in images]
        found: list[Detections] = [Detections.none()] * len(images)
        # Only images of one size share a batch: what stands beside an image must not change its detections.
        for size in dict.fromkeys(sizes):
            alike = [i for i, its_size in enumerate(sizes) if its_size == size]
            count = max(1, BATCH_PIXELS // (size[0] * size[1]))
            for rows in (alike[first : first + count] for first in range(0, len(alike), count)):
                batch = pad_batch([resize_to(images[i], size) for i in rows], self.padding)
                inside = np.array([size] * len(rows), np.int64)
                for i, detections in zip(rows, self.run(batch, inside), strict=True):
                    found[i] = _unscaled(detections, size, images[i].shape)
        return found


def _unscaled(detections: Detections, resized: tuple, original: tuple) -> Detections:
    ratio = np.array([original[1] / resized[1], original[0] / resized[0]] * 2, np.float32)
    return Detections(detections.boxes_xyxy * ratio, detections.scores, detections.labels)

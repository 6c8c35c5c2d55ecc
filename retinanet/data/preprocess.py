"""From a picture of any size to what the network takes."""

from collections.abc import Sequence

import cv2
import numpy as np

# Sides are padded to multiples of the last backbone stride, as torchvision and detectron2 do.
MULTIPLE = 32


def fit_scale(height: int, width: int, short_side: int, long_side: int) -> float:
    """How much to enlarge a picture so that its shorter side is short_side, unless the longer would pass long_side."""
    return min(short_side / min(height, width), long_side / max(height, width))


def resize(picture: np.ndarray, scale: float) -> np.ndarray:
    """Picture (H, W, 3) uint8 at another scale, each side at least one pixel."""
    size = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)


def pad_batch(pictures: Sequence[np.ndarray], colour: Sequence[int]) -> np.ndarray:
    """(N, H, W, 3) uint8: the pictures in the top left corners, H and W multiples of 32, the rest in one colour."""
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
    shape = (len(pictures), -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE, 3)
    batch = np.empty(shape, np.uint8)
    batch[:] = np.asarray(colour, np.uint8)
    for row, picture in zip(batch, pictures, strict=True):
        row[: picture.shape[0], : picture.shape[1]] = picture
    return batch


def padding_colour(mean: Sequence[float]) -> tuple[int, int, int]:
    """The colour that is nothing once normalised, so that padding looks like no object."""
    return tuple(round(float(m) * 255) for m in mean)

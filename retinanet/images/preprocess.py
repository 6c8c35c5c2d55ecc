"""Resize and pad images to batches for the network."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

# Sides are padded to multiples of the last backbone stride, as torchvision and detectron2 do.
MULTIPLE = 32
# Inception's unpadded convolutions fail on images under 75 px.
MIN_INPUT_SIDE = 96


class InputSize(NamedTuple):
    """Images are resized so that the shorter side is short_side, unless the longer one would exceed long_side."""

    short_side: int
    long_side: int


def fit_scale(height: int, width: int, short_side: int, long_side: int) -> float:
    """The scale at which the shorter side is short_side, or less if the longer side would exceed long_side."""
    return min(short_side / min(height, width), long_side / max(height, width))


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """(height, width) at another scale, each side at least one pixel."""
    return max(1, int(height * scale)), max(1, int(width * scale))


def fitted_size(height: int, width: int, input_size: InputSize) -> tuple[int, int]:
    """(height, width) that an image of this size is resized to."""
    return scaled_size(height, width, fit_scale(height, width, *input_size))


def resize_to(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, 3) uint8 to (height, width)."""
    # Linear interpolation reads two pixels per axis: below half the size, it would skip pixels.
    skips_pixels = size[0] * 2 < image.shape[0] or size[1] * 2 < image.shape[1]
    interpolation = cv2.INTER_AREA if skips_pixels else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def padded_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of the network's input for a resized image: multiples of 32, at least 96 each."""
    height, width = (-(-max(MIN_INPUT_SIDE, side) // MULTIPLE) * MULTIPLE for side in (height, width))
    return height, width


def pad_batch(images: Sequence[np.ndarray], color: Sequence[int]) -> np.ndarray:
    """(N, H, W, 3) uint8: the images in the top left corners, padded with a color."""
    sides = padded_size(max(p.shape[0] for p in images), max(p.shape[1] for p in images))
    batch = np.empty((len(images), *sides, 3), np.uint8)
    for row, image in zip(batch, images, strict=True):
        height, width = image.shape[:2]
        row[:height, :width] = image
        row[:height, width:] = row[height:] = np.asarray(color, np.uint8)
    return batch


def padding_color(mean: Sequence[float]) -> tuple[int, int, int]:
    """The mean RGB color as bytes: padding of this color is 0 after normalization."""
    red, green, blue = (round(float(m) * 255) for m in mean)
    return red, green, blue

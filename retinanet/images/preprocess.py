"""From a picture of any size to what the network takes."""

from collections.abc import Sequence

import cv2
import numpy as np

# Sides are padded to multiples of the last backbone stride, as torchvision and detectron2 do.
MULTIPLE = 32
# The Inceptions' unpadded convolutions leave nothing of a picture under 75 px.
LEAST_SIDE = 96


def fit_scale(height: int, width: int, short_side: int, long_side: int) -> float:
    """How much to enlarge a picture so that its shorter side is short_side, unless the longer would pass long_side."""
    return min(short_side / min(height, width), long_side / max(height, width))


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """(height, width) at another scale, each side at least one pixel."""
    return max(1, int(height * scale)), max(1, int(width * scale))


def resize(picture: np.ndarray, scale: float) -> np.ndarray:
    """Picture (H, W, 3) uint8 at another scale."""
    height, width = picture.shape[:2]
    return resize_to(picture, scaled_size(height, width, scale))


def resize_to(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Picture (H, W, 3) uint8 with the size (height, width)."""
    # Linear interpolation looks at two pixels a side: shrinking further, it would leave some out.
    leaves_some_out = size[0] * 2 < picture.shape[0] or size[1] * 2 < picture.shape[1]
    how = cv2.INTER_AREA if leaves_some_out else cv2.INTER_LINEAR
    return cv2.resize(picture, size[::-1], interpolation=how)


def padded_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of the network's input for a resized picture: multiples of 32, at least 96 each."""
    height, width = (-(-max(LEAST_SIDE, side) // MULTIPLE) * MULTIPLE for side in (height, width))
    return height, width


def pad_batch(pictures: Sequence[np.ndarray], colour: Sequence[int]) -> np.ndarray:
    """(N, H, W, 3) uint8: the pictures in the top left corners, the rest in one colour."""
    sides = padded_size(max(p.shape[0] for p in pictures), max(p.shape[1] for p in pictures))
    batch = np.empty((len(pictures), *sides, 3), np.uint8)
    for row, picture in zip(batch, pictures, strict=True):
        height, width = picture.shape[:2]
        row[:height, :width] = picture
        row[:height, width:] = row[height:] = np.asarray(colour, np.uint8)
    return batch


def padding_colour(mean: Sequence[float]) -> tuple[int, int, int]:
    """The colour that is nothing once normalised, so that padding looks like no object."""
    red, green, blue = (round(float(m) * 255) for m in mean)
    return red, green, blue

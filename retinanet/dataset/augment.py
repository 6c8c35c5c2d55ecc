"""Training augmentation, by albumentations."""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retinanet.config.training import Augment
from retinanet.images.preprocess import fit_scale

# Otherwise importing it asks the network for its newest version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

# An object with a smaller share inside a crop is ignored, like a crowd.
MIN_VISIBLE = 0.3
CROWD = -1


class AnnotatedImage(NamedTuple):
    """An image (H, W, 3) uint8 with boxes (G, 4) xyxy float32 in pixels, labels (G,) int64, and crowds (C, 4) xyxy
    float32: ignored regions (crowds and truncated objects), neither objects nor background."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowds: np.ndarray


class Augmentation:
    """Random scale, crop, flips, rotations, colors and mosaics on a square canvas; the same for the same seed.

    On a canvas of `side` pixels, images have their size at inference times a factor from settings.scale; on another
    canvas, they are scaled in proportion. An orientation of `auto` is `upright`: Train.for_data replaces it.
    """

    def __init__(self, settings: Augment, side: int, long_side: int, padding: tuple[int, int, int]):
        self.settings, self.side, self.long_side, self.padding = settings, side, long_side, padding
        self._composes: dict[int, A.Compose] = {}

    def wants_mosaic(self, seed: list[int]) -> bool:
        """Whether the sample of this seed is a mosaic, so that three other images must be read."""
        return self.settings.mosaic > 0 and np.random.default_rng([*seed, 1]).random() < self.settings.mosaic

    def scale(self, height: int, width: int, seed: list[int], canvas: int) -> float:
        """The scale of an image of this size in the sample of this seed."""
        return self._draw(seed)[0] * canvas / self.side * fit_scale(height, width, self.side, self.long_side)

    def largest_scale(self, height: int, width: int) -> float:
        """The largest value of `scale`."""
        largest = self.settings.scale[1] * max(self.settings.multi_scale)
        return largest * fit_scale(height, width, self.side, self.long_side)

    def __call__(
        self, image: AnnotatedImage, seed: list[int], canvas: int, others: Sequence[AnnotatedImage] = ()
    ) -> AnnotatedImage:
        """Augment an image that has the scale of this seed. others are the other three images of a mosaic."""
        if others:
            image = _mosaic([image, *others], self.padding)
        if canvas not in self._composes:
            self._composes[canvas] = self._compose(canvas)
        compose = self._composes[canvas]
        compose.set_random_seed(self._draw(seed)[1])
        regions = np.concatenate([image.boxes, image.crowds])
        labels = np.concatenate([image.labels, np.full(len(image.crowds), CROWD)])
        out = compose(image=image.image, bboxes=regions, labels=labels, areas=_areas(regions))
        regions = np.asarray(out["bboxes"], np.float32).reshape(-1, 4)
        labels = np.asarray(out["labels"], np.int64).reshape(-1)
        areas = np.asarray(out["areas"], np.float32).reshape(-1)
        single = (labels != CROWD) & (_areas(regions) >= MIN_VISIBLE * areas)
        return AnnotatedImage(out["image"], regions[single], labels[single], regions[~single])

    def _draw(self, seed: list[int]) -> tuple[float, int]:
        """The scale factor, and the seed of all other transforms."""
        rng = np.random.default_rng(seed)
        low, high = (math.log(factor) for factor in self.settings.scale)
        return math.exp(rng.uniform(low, high)), int(rng.integers(2**31))

    def _compose(self, canvas: int) -> A.Compose:
        settings = self.settings
        is_any = settings.orientation == "any"
        return A.Compose(
            [
                A.PadIfNeeded(canvas, canvas, position="random", fill=self.padding),
                A.RandomCrop(canvas, canvas),
                A.HorizontalFlip(p=settings.flip_horizontal),
                A.VerticalFlip(p=0.5 if is_any else 0),
                *([A.RandomRotate90(p=1)] if is_any else []),
                A.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue, p=0.8),
            ],
            bbox_params=A.BboxParams("pascal_voc", ["labels", "areas"], min_area=4),
        )


def _mosaic(images: Sequence[AnnotatedImage], padding: tuple[int, int, int]) -> AnnotatedImage:
    """A 2 x 2 mosaic of images of any sizes, whose corners meet in a point.

    albumentations' mosaic resizes all images to one size, which undoes the drawn scale, and does not report how much
    of an object it cuts off.
    """
    heights, widths = zip(*(part.image.shape[:2] for part in images), strict=True)
    top, left = max(heights[:2]), max(widths[::2])
    shape = top + max(heights[2:]), left + max(widths[1::2]), 3
    mosaic = np.full(shape, padding, np.uint8)
    boxes, crowds = [], []
    for number, part in enumerate(images):
        x = left if number % 2 else left - widths[number]
        y = top if number >= 2 else top - heights[number]
        mosaic[y : y + heights[number], x : x + widths[number]] = part.image
        moved = np.array([x, y, x, y], np.float32)
        boxes.append(part.boxes + moved)
        crowds.append(part.crowds + moved)
    labels = np.concatenate([part.labels for part in images])
    return AnnotatedImage(mosaic, np.concatenate(boxes), labels, np.concatenate(crowds))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)

"""What training does to a picture before the network sees it, by albumentations."""

import functools
import math
from collections.abc import Sequence

import albumentations as A
import numpy as np

from retinanet.data.preprocess import fit_scale, resize
from retinanet.settings import Augment

# A box of which a crop leaves less than this share is no longer an example of its class.
MIN_VISIBLE = 0.3


class Augmentation:
    """Random scale, crop, flips, turns, colours and mosaics on a square canvas; the same for the same seed.

    Call it with picture (H, W, 3) uint8, boxes (G, 4) xyxy float32 and labels (G,): it returns the three for a canvas
    of `canvas` pixels (`side` when None), on which pictures have the size that inference gives them, times canvas /
    side, times a factor out of settings.scale. others (three such triples) fill the rest of a mosaic.
    """

    def __init__(self, settings: Augment, side: int, long_side: int, padding: tuple[int, int, int]):
        self.settings, self.side, self.long_side, self.padding = settings, side, long_side, padding
        self.log_scale = [math.log(s) for s in settings.scale]
        self.compose_for = functools.cache(self._compose)

    def wants_mosaic(self, seed: list[int]) -> bool:
        """Whether the sample of this seed is a mosaic, so that its other three pictures need be read."""
        return self.settings.mosaic > 0 and np.random.default_rng([*seed, 1]).random() < self.settings.mosaic

    def __call__(
        self,
        picture: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        seed: list[int],
        canvas: int | None = None,
        others: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]] = (),
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        canvas = canvas or self.side
        rng = np.random.default_rng(seed)
        factor = math.exp(rng.uniform(*self.log_scale)) * canvas / self.side
        picture, boxes = resize_with_boxes(
            picture, boxes, factor * fit_scale(*picture.shape[:2], self.side, self.long_side)
        )
        compose = self.compose_for(canvas, bool(others))
        compose.set_random_seed(int(rng.integers(2**31)))
        rest = [{"image": p, "bboxes": b, "labels": x} for p, b, x in others]
        out = compose(image=picture, bboxes=boxes, labels=labels, **({"others": rest} if rest else {}))
        boxes = np.asarray(out["bboxes"], np.float32).reshape(-1, 4)
        return out["image"], boxes, np.asarray(out["labels"], np.int64).reshape(-1)

    def _compose(self, canvas: int, mosaic: bool) -> A.Compose:
        settings = self.settings
        shape = (canvas, canvas)
        filling = (
            [A.Mosaic((2, 2), shape, shape, fit_mode="contain", fill=self.padding, metadata_key="others", p=1)]
            if mosaic
            else [A.PadIfNeeded(*shape, position="random", fill=self.padding), A.RandomCrop(*shape)]
        )
        return A.Compose(
            [
                *filling,
                A.HorizontalFlip(p=settings.flip_horizontal),
                A.VerticalFlip(p=settings.flip_vertical),
                *([A.RandomRotate90(p=1)] if settings.quarter_turns else []),
                A.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue, p=0.8),
            ],
            bbox_params=A.BboxParams("pascal_voc", ["labels"], min_visibility=MIN_VISIBLE, min_area=4),
        )


def resize_with_boxes(picture: np.ndarray, boxes: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Picture and boxes (G, 4) xyxy at another scale; boxes follow the whole pixels that the picture really got."""
    resized = resize(picture, scale)
    ratio = np.array([resized.shape[1] / picture.shape[1], resized.shape[0] / picture.shape[0]] * 2, np.float32)
    limit = np.array([resized.shape[1], resized.shape[0]] * 2, np.float32)
    return resized, np.clip(boxes * ratio, 0, limit).astype(np.float32)

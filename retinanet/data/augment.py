"""What training does to a picture before the network sees it, by albumentations."""

import math

import albumentations as A
import numpy as np

from retinanet.data.preprocess import fit_scale, resize
from retinanet.params import Augment

# A box of which a crop leaves less than this share is no longer an example of its class.
MIN_VISIBLE = 0.3


class Augmentation:
    """Random scale, crop, flips, turns and colours on a square canvas; the same for the same seed.

    Call it with picture (H, W, 3) uint8, boxes (G, 4) xyxy float32 and labels (G,): it returns the three for a canvas
    of `side` pixels, on which pictures have the size that inference gives them, times a factor out of settings.scale.
    """

    def __init__(self, settings: Augment, side: int, long_side: int, padding: tuple[int, int, int]):
        self.side, self.long_side = side, long_side
        self.log_scale = [math.log(s) for s in settings.scale]
        self.compose = A.Compose(
            [
                A.PadIfNeeded(side, side, position="random", fill=padding),
                A.RandomCrop(side, side),
                A.HorizontalFlip(p=settings.flip_horizontal),
                A.VerticalFlip(p=settings.flip_vertical),
                *([A.RandomRotate90(p=1)] if settings.quarter_turns else []),
                A.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue, p=0.8),
            ],
            bbox_params=A.BboxParams("pascal_voc", ["labels"], min_visibility=MIN_VISIBLE, min_area=4),
        )

    def __call__(
        self, picture: np.ndarray, boxes: np.ndarray, labels: np.ndarray, seed: list[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        factor = math.exp(rng.uniform(*self.log_scale))
        picture, boxes = resize_with_boxes(
            picture, boxes, factor * fit_scale(*picture.shape[:2], self.side, self.long_side)
        )
        self.compose.set_random_seed(int(rng.integers(2**31)))
        out = self.compose(image=picture, bboxes=boxes, labels=labels)
        boxes = np.asarray(out["bboxes"], np.float32).reshape(-1, 4)
        return out["image"], boxes, np.asarray(out["labels"], np.int64).reshape(-1)


def resize_with_boxes(picture: np.ndarray, boxes: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Picture and boxes (G, 4) xyxy at another scale; boxes follow the whole pixels that the picture really got."""
    resized = resize(picture, scale)
    ratio = np.array([resized.shape[1] / picture.shape[1], resized.shape[0] / picture.shape[0]] * 2, np.float32)
    limit = np.array([resized.shape[1], resized.shape[0]] * 2, np.float32)
    return resized, np.clip(boxes * ratio, 0, limit).astype(np.float32)

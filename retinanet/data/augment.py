"""What training does to a picture before the network sees it, by albumentations."""

import math
from collections.abc import Sequence

import albumentations as A
import numpy as np

from retinanet.data.preprocess import fit_scale
from retinanet.settings import Augment

# A box of which a crop leaves less than this share is no longer an example of its class.
MIN_VISIBLE = 0.3


class Augmentation:
    """Random scale, crop, flips, turns, colours and mosaics on a square canvas; the same for the same seed.

    On a canvas of `side` pixels, pictures have the size that inference gives them, times a factor out of
    settings.scale; on another canvas they are larger or smaller by as much.
    """

    def __init__(self, settings: Augment, side: int, long_side: int, padding: tuple[int, int, int]):
        self.settings, self.side, self.long_side, self.padding = settings, side, long_side, padding
        self._composes: dict[tuple[int, bool], A.Compose] = {}

    def wants_mosaic(self, seed: list[int]) -> bool:
        """Whether the sample of this seed is a mosaic, so that its other three pictures need be read."""
        return self.settings.mosaic > 0 and np.random.default_rng([*seed, 1]).random() < self.settings.mosaic

    def scale(self, height: int, width: int, seed: list[int], canvas: int) -> float:
        """How much a picture of that size is to be enlarged for the sample of this seed."""
        return self._draw(seed)[0] * canvas / self.side * fit_scale(height, width, self.side, self.long_side)

    def largest_scale(self, height: int, width: int) -> float:
        """The largest that `scale` can be."""
        largest = self.settings.scale[1] * max(self.settings.multi_scale)
        return largest * fit_scale(height, width, self.side, self.long_side)

    def __call__(
        self,
        picture: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        seed: list[int],
        canvas: int,
        others: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]] = (),
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """picture (H, W, 3) uint8 at the scale of this seed, boxes (G, 4) xyxy float32 in its pixels and labels (G,):
        the three as they are on the canvas. others (three such triples) fill the rest of a mosaic."""
        kind = canvas, bool(others)
        if kind not in self._composes:
            self._composes[kind] = self._compose(*kind)
        compose = self._composes[kind]
        compose.set_random_seed(self._draw(seed)[1])
        rest = [{"image": p, "bboxes": b, "labels": x} for p, b, x in others]
        out = compose(image=picture, bboxes=boxes, labels=labels, **({"others": rest} if rest else {}))
        boxes = np.asarray(out["bboxes"], np.float32).reshape(-1, 4)
        return out["image"], boxes, np.asarray(out["labels"], np.int64).reshape(-1)

    def _draw(self, seed: list[int]) -> tuple[float, int]:
        """The factor of the scale, and the seed of all else."""
        rng = np.random.default_rng(seed)
        low, high = (math.log(factor) for factor in self.settings.scale)
        return math.exp(rng.uniform(low, high)), int(rng.integers(2**31))

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

"""Pictures with their objects as tensors, one by one and in batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from retinanet.data.augment import Augmentation, Marked
from retinanet.data.coco import CocoDataset
from retinanet.data.images import read_picture
from retinanet.data.picture_cache import PictureCache
from retinanet.data.preprocess import fit_scale, pad_batch, resize_to, scaled_size


class Sample(NamedTuple):
    """One picture as the network gets it: the fields of Marked, and the picture's id."""

    picture: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowds: np.ndarray
    picture_id: int


class Batch(NamedTuple):
    """pictures (N, H, W, 3) uint8, padded; N each of boxes (G, 4) float32, labels (G,) int64 and crowds (C, 4) float32;
    sizes (N, 2) inside the padding; picture_ids."""

    pictures: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    crowds: list[Tensor]
    sizes: list[tuple[int, int]]
    picture_ids: list[int]


class Key(NamedTuple):
    """Which sample a training step asks for: the row of the picture, and the side of the canvas in pixels."""

    epoch: int
    row: int
    canvas: int


class TrainingPictures(Dataset):
    """Augmented samples: each follows from its key and the seed alone, in any process."""

    def __init__(
        self,
        dataset: CocoDataset,
        root: Path,
        augmentation: Augmentation,
        seed: int,
        cache: PictureCache | None = None,
    ):
        self.dataset, self.root, self.augmentation, self.seed = dataset, root, augmentation, seed
        self.cache = cache

    def __len__(self) -> int:
        return len(self.dataset.pictures)

    def __getitem__(self, key: Key) -> Sample:
        seed = [self.seed, key.epoch, key.row]
        others = []
        if self.augmentation.wants_mosaic(seed):
            for row in np.random.default_rng([*seed, 2]).integers(len(self), size=3):
                info = self.dataset.pictures[row]
                others.append(self._read(int(row), min(1.0, key.canvas / max(info.height, info.width))))
        info = self.dataset.pictures[key.row]
        picture = self._read(key.row, self.augmentation.scale(info.height, info.width, seed, key.canvas))
        return Sample(*self.augmentation(picture, seed, key.canvas, others), info.id)

    def _read(self, row: int, scale: float) -> Marked:
        info = self.dataset.pictures[row]
        path = self.root / info.file_name
        if self.cache:
            size = info.height, info.width
            picture = self.cache.read(path, size, self.augmentation.largest_scale(*size))
        else:
            picture = read_picture(path, scale=scale)
        return _at_scale(picture, self.dataset, row, scale)


class PlainPictures(Dataset):
    """Samples at the size that inference gives them, read as it reads them. A key is a row."""

    def __init__(self, dataset: CocoDataset, root: Path, short_side: int, long_side: int):
        self.dataset, self.root, self.sides = dataset, root, (short_side, long_side)

    def __len__(self) -> int:
        return len(self.dataset.pictures)

    def __getitem__(self, row: int) -> Sample:
        info = self.dataset.pictures[row]
        scale = fit_scale(info.height, info.width, *self.sides)
        picture = read_picture(self.root / info.file_name)
        return Sample(*_at_scale(picture, self.dataset, row, scale), info.id)


class EpochBatches(Sampler):
    """Keys of an epoch's batches from step `first` on, in an order that follows from (seed, epoch).

    The last, short batch is filled up with pictures of the epoch's start, so that each step has as many pictures as
    the learning rate was set for. canvases are the sides that a batch may have; each draws one. Each batch comes in
    `parts` equal parts, of which process `rank` of `processes` gets its own.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        canvases: Sequence[int],
        parts: int = 1,
        rank: int = 0,
        processes: int = 1,
    ):
        self.count, self.batch_size, self.seed, self.canvases = count, batch_size, seed, canvases
        self.parts, self.rank, self.processes = parts, rank, processes
        self.epoch, self.first = 0, 0

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return -(-self.count // self.batch_size)

    def __len__(self) -> int:
        return (self.steps - self.first) * self.parts

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        order = np.resize(order, self.steps * self.batch_size)
        for step, rows in enumerate(order.reshape(self.steps, self.batch_size)):
            if step >= self.first:
                canvas = np.random.default_rng([self.seed, self.epoch, step]).choice(self.canvases)
                for part in rows[self.rank :: self.processes].reshape(self.parts, -1):
                    yield [Key(self.epoch, int(row), int(canvas)) for row in part]


def collate(samples: list[Sample], padding: tuple[int, int, int]) -> Batch:
    """Put samples of any sizes into one batch."""
    return Batch(
        torch.from_numpy(pad_batch([s.picture for s in samples], padding)),
        [torch.from_numpy(s.boxes) for s in samples],
        [torch.from_numpy(s.labels) for s in samples],
        [torch.from_numpy(s.crowds) for s in samples],
        [s.picture.shape[:2] for s in samples],
        [s.picture_id for s in samples],
    )


def _at_scale(picture: np.ndarray, dataset: CocoDataset, row: int, scale: float) -> Marked:
    """The picture of that row, which may be decoded smaller than it is, at a scale of its own size.

    Boxes follow the whole pixels that the picture really gets.
    """
    info = dataset.pictures[row]
    objects = dataset.objects[info.id]
    height, width = scaled_size(info.height, info.width, scale)
    ratio = np.array([width / info.width, height / info.height] * 2, np.float32)
    boxes = np.clip(objects.boxes_xyxy * ratio, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
    single = objects.is_single
    return Marked(resize_to(picture, (height, width)), boxes[single], objects.labels[single], boxes[~single])

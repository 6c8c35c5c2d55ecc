"""Pictures with their objects as tensors, one by one and in batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from retinanet.data.augment import Augmentation, resize_with_boxes
from retinanet.data.coco import CocoDataset
from retinanet.data.images import read_picture
from retinanet.data.preprocess import fit_scale, pad_batch


class Sample(NamedTuple):
    """One picture as the network gets it: picture (H, W, 3) uint8, boxes (G, 4) xyxy in its pixels, labels (G,)."""

    picture: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    picture_id: int


class Batch(NamedTuple):
    """pictures (N, H, W, 3) uint8, padded; N each of boxes (G, 4) float32, labels (G,) int64; sizes (N, 2) inside
    the padding; picture_ids."""

    pictures: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    sizes: list[tuple[int, int]]
    picture_ids: list[int]


class Key(NamedTuple):
    """Which sample a training step asks for: the row of the picture, and the side of the canvas in pixels."""

    epoch: int
    row: int
    canvas: int


class TrainingPictures(Dataset):
    """Augmented samples: each follows from its key and the seed alone, in any process."""

    def __init__(self, dataset: CocoDataset, root: Path, augmentation: Augmentation, seed: int):
        self.dataset, self.root, self.augmentation, self.seed = dataset, root, augmentation, seed

    def __len__(self) -> int:
        return len(self.dataset.pictures)

    def __getitem__(self, key: Key) -> Sample:
        seed = [self.seed, key.epoch, key.row]
        rows = []
        if self.augmentation.wants_mosaic(seed):
            rows = np.random.default_rng([*seed, 2]).integers(len(self), size=3)
        picture = _read(self.dataset, self.root, key.row)
        others = [_read(self.dataset, self.root, int(row)) for row in rows]
        sample = self.augmentation(*picture, seed, key.canvas, others)
        return Sample(*sample, self.dataset.pictures[key.row].id)


class PlainPictures(Dataset):
    """Samples at the size that inference gives them. A key is a row."""

    def __init__(self, dataset: CocoDataset, root: Path, short_side: int, long_side: int):
        self.dataset, self.root, self.sides = dataset, root, (short_side, long_side)

    def __len__(self) -> int:
        return len(self.dataset.pictures)

    def __getitem__(self, row: int) -> Sample:
        picture, boxes, labels = _read(self.dataset, self.root, row)
        picture, boxes = resize_with_boxes(picture, boxes, fit_scale(*picture.shape[:2], *self.sides))
        return Sample(picture, boxes, labels, self.dataset.pictures[row].id)


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
        [s.picture.shape[:2] for s in samples],
        [s.picture_id for s in samples],
    )


def _read(dataset: CocoDataset, root: Path, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    info = dataset.pictures[row]
    objects = dataset.objects[info.id]
    # A crowd region is no example of one object; evaluation knows how to ignore it.
    single = ~objects.iscrowd
    return read_picture(root / info.file_name), objects.boxes_xyxy[single], objects.labels[single]

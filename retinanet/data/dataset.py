"""Pictures with their objects as tensors, one by one and in batches."""

from collections.abc import Iterator
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


class TrainingPictures(Dataset):
    """Augmented samples. A key is (epoch, row): the sample follows from it and the seed alone, in any process."""

    def __init__(self, dataset: CocoDataset, root: Path, augmentation: Augmentation, seed: int):
        self.dataset, self.root, self.augmentation, self.seed = dataset, root, augmentation, seed

    def __len__(self) -> int:
        return len(self.dataset.pictures)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, row = key
        picture, boxes, labels = _read(self.dataset, self.root, row)
        return Sample(
            *self.augmentation(picture, boxes, labels, [self.seed, epoch, row]), self.dataset.pictures[row].id
        )


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
    """Keys of an epoch's batches in an order that follows from (seed, epoch). The last, short batch is filled up
    with pictures of the epoch's start, so that each step has as many pictures as the learning rate was set for."""

    def __init__(self, count: int, batch_size: int, seed: int):
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        order = np.resize(order, len(self) * self.batch_size)
        for rows in order.reshape(len(self), self.batch_size):
            yield [(self.epoch, int(row)) for row in rows]


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

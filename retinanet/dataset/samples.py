"""Pictures with their objects as tensors, one by one and in batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from retinanet.dataset.augment import Augmentation, Marked
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.image_cache import PictureCache
from retinanet.images.preprocess import fit_scale, pad_batch, resize_to, scaled_size
from retinanet.images.reading import read_picture


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
    """Which sample a training step asks for: how often all pictures came before, the row of the picture, and the side
    of the canvas in pixels."""

    round: int
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
        seed = [self.seed, key.round, key.row]
        others = []
        if self.augmentation.wants_mosaic(seed):
            for row in np.random.default_rng([*seed, 2]).integers(len(self), size=3):
                others.append(self._read(int(row), seed, key.canvas))
        picture = self._read(key.row, seed, key.canvas)
        return Sample(*self.augmentation(picture, seed, key.canvas, others), self.dataset.pictures[key.row].id)

    def _read(self, row: int, seed: list[int], canvas: int) -> Marked:
        info = self.dataset.pictures[row]
        scale = self.augmentation.scale(info.height, info.width, seed, canvas)
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
    """Keys of an epoch's batches from step `first` on, which follow from (seed, epoch).

    All pictures come in an order of their own, then all of them in another, and so on, without an end. An epoch is as
    many whole batches as would hold them once, and the next goes on where it ended: over a training, whichever epoch it
    begins with, none is dropped and none comes again and again, and each step has as many pictures as the learning rate
    was set for. canvases are the sides that a batch may have; each draws one. Each batch comes in `parts` equal parts,
    of which process `rank` of `processes` gets its own.
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
        self._orders: dict[int, np.ndarray] = {}

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return -(-self.count // self.batch_size)

    def __len__(self) -> int:
        return (self.steps - self.first) * self.parts

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.first, self.steps):
            canvas = np.random.default_rng([self.seed, self.epoch, step]).choice(self.canvases)
            begin = (self.epoch * self.steps + step) * self.batch_size
            of_process = np.arange(begin + self.rank, begin + self.batch_size, self.processes)
            for part in of_process.reshape(self.parts, -1):
                yield [self._key(int(place), int(canvas)) for place in part]

    def _key(self, place: int, canvas: int) -> Key:
        """Of the picture at that place when all rounds stand in one row."""
        number, within = divmod(place, self.count)
        return Key(number, int(self._order(number)[within]), canvas)

    def _order(self, number: int) -> np.ndarray:
        if number not in self._orders:
            # A batch may reach into the next round.
            kept = dict(list(self._orders.items())[-1:])
            self._orders = kept | {number: np.random.default_rng([self.seed, number]).permutation(self.count)}
        return self._orders[number]


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

"""Images with their objects, as samples and as batches of tensors."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from retinanet.dataset.augment import AnnotatedImage, Augmentation
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.image_cache import ImageCache
from retinanet.images.preprocess import InputSize, fit_scale, pad_batch, resize_to, scaled_size
from retinanet.images.reading import read_image


class Sample(NamedTuple):
    """One image at the network's input size: the fields of AnnotatedImage, and the image's id."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowds: np.ndarray
    image_id: int


class Batch(NamedTuple):
    """images (N, H, W, 3) uint8, padded; N each of boxes (G, 4) float32, labels (G,) int64 and crowds (C, 4) float32;
    sizes (N, 2) inside the padding; image_ids."""

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    crowds: list[Tensor]
    sizes: list[tuple[int, int]]
    image_ids: list[int]


class SampleKey(NamedTuple):
    """Key of a training sample: the number of earlier rounds over all images, the row of the image, and the side of
    the canvas in pixels."""

    round: int
    row: int
    canvas: int


class TrainingImages(Dataset):
    """Augmented samples; each depends on its key and the seed alone, in any process."""

    def __init__(
        self,
        dataset: CocoDataset,
        root: Path,
        augmentation: Augmentation,
        seed: int,
        cache: ImageCache | None = None,
    ):
        self.dataset, self.root, self.augmentation, self.seed = dataset, root, augmentation, seed
        self.cache = cache

    def __len__(self) -> int:
        return len(self.dataset.images)

    def __getitem__(self, key: SampleKey) -> Sample:
        seed = [self.seed, key.round, key.row]
        others = []
        if self.augmentation.wants_mosaic(seed):
            for row in np.random.default_rng([*seed, 2]).integers(len(self), size=3):
                others.append(self._read(int(row), seed, key.canvas))
        image = self._read(key.row, seed, key.canvas)
        return Sample(*self.augmentation(image, seed, key.canvas, others), self.dataset.images[key.row].id)

    def _read(self, row: int, seed: list[int], canvas: int) -> AnnotatedImage:
        info = self.dataset.images[row]
        scale = self.augmentation.scale(info.height, info.width, seed, canvas)
        path = self.root / info.file_name
        if self.cache:
            largest = self.augmentation.largest_scale(info.height, info.width)
            image = self.cache.read(path, info, largest, self.dataset.reading)
        else:
            image = read_image(path, self.dataset.reading, scale)
        return _at_scale(image, self.dataset, row, scale)


class EvaluationImages(Dataset):
    """Samples read and resized as in inference. A key is a row."""

    def __init__(self, dataset: CocoDataset, root: Path, input_size: InputSize):
        self.dataset, self.root, self.input_size = dataset, root, input_size

    def __len__(self) -> int:
        return len(self.dataset.images)

    def __getitem__(self, row: int) -> Sample:
        info = self.dataset.images[row]
        scale = fit_scale(info.height, info.width, *self.input_size)
        image = read_image(self.root / info.file_name, self.dataset.reading)
        return Sample(*_at_scale(image, self.dataset, row, scale), info.id)


class EpochBatches(Sampler):
    """Keys of an epoch's batches from step `first` on, determined by (seed, epoch).

    Rounds over all images, each in a new order, follow one another without end. An epoch is the number of full batches
    that covers all images once, and the next epoch continues where it ended: no image is dropped or preferred, and
    each step has batch_size images, for which the learning rate was set. Each batch draws its side in pixels from
    canvases. Each batch is divided into micro_batches of equal size, and process `rank` of `processes` gets its share.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        canvases: Sequence[int],
        micro_batches: int = 1,
        rank: int = 0,
        processes: int = 1,
    ):
        self.count, self.batch_size, self.seed, self.canvases = count, batch_size, seed, canvases
        self.micro_batches, self.rank, self.processes = micro_batches, rank, processes
        self.epoch, self.first = 0, 0
        self._orders: dict[int, np.ndarray] = {}

    @property
    def steps(self) -> int:
        """Number of steps in an epoch."""
        return -(-self.count // self.batch_size)

    def __len__(self) -> int:
        return (self.steps - self.first) * self.micro_batches

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in range(self.first, self.steps):
            canvas = np.random.default_rng([self.seed, self.epoch, step]).choice(self.canvases)
            begin = (self.epoch * self.steps + step) * self.batch_size
            positions = np.arange(begin + self.rank, begin + self.batch_size, self.processes)
            for micro_batch in positions.reshape(self.micro_batches, -1):
                yield [self._key(int(position), int(canvas)) for position in micro_batch]

    def _key(self, position: int, canvas: int) -> SampleKey:
        """The key at a position in the concatenation of all rounds."""
        number, within = divmod(position, self.count)
        return SampleKey(number, int(self._order(number)[within]), canvas)

    def _order(self, number: int) -> np.ndarray:
        if number not in self._orders:
            # Keep the previous order: a batch may reach into the next round.
            kept = dict(list(self._orders.items())[-1:])
            self._orders = kept | {number: np.random.default_rng([self.seed, number]).permutation(self.count)}
        return self._orders[number]


def collate(samples: list[Sample], padding: tuple[int, int, int]) -> Batch:
    """Combine samples of any sizes into a batch, padded with a color."""
    return Batch(
        torch.from_numpy(pad_batch([s.image for s in samples], padding)),
        [torch.from_numpy(s.boxes) for s in samples],
        [torch.from_numpy(s.labels) for s in samples],
        [torch.from_numpy(s.crowds) for s in samples],
        [s.image.shape[:2] for s in samples],
        [s.image_id for s in samples],
    )


def _at_scale(image: np.ndarray, dataset: CocoDataset, row: int, scale: float) -> AnnotatedImage:
    """The annotated image of a row, resized to `scale` times its original size; it may be decoded smaller.

    Boxes are scaled by the rounded size of the resized image.
    """
    info = dataset.images[row]
    objects = dataset.objects[info.id]
    height, width = scaled_size(info.height, info.width, scale)
    ratio = np.array([width / info.width, height / info.height] * 2, np.float32)
    boxes = np.clip(objects.boxes_xyxy * ratio, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
    single = objects.is_single
    return AnnotatedImage(resize_to(image, (height, width)), boxes[single], objects.labels[single], boxes[~single])

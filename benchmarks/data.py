"""Training images per second and core, from JPEGs on disk to a batch: this loader beside torchvision's and plain PIL.

    uv run python -m benchmarks.data [--images 48] [--rounds 5]

All do their work in one thread of one process, alternately, on the same generated JPEGs, for a canvas of 512 px:

- ours: scale, pad, crop, flips, rotations by 90 degrees and colors of params.yaml; uint8, which the device normalizes;
  and the same with `runtime.cache_images`, from the second epoch on;
- torchvision v2, same steps: ScaleJitter, RandomCrop with padding, flips and ColorJitter on tensors, then float32, as
  its reference recipe ends;
- torchvision v2, hflip: its recipe's lightest preset, a flip alone, with the resize that its model does;
- plain PIL: decode, resize, float32; no augmentation.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from retinanet.config.params import load_params
from retinanet.dataset.augment import Augmentation
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.dataset.image_cache import ImageCache
from retinanet.dataset.samples import SampleKey, TrainingImages, collate

SIDE, BATCH, OBJECTS = 512, 4, 8
SIZES = ((640, 480), (1600, 1200), (4000, 3000))  # width, height
PADDING = (124, 116, 104)
REFERENCE = "torchvision v2, same steps"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    print("| images | loader | images/s on one core | beside torchvision's same steps |")
    print("| --- | --- | --- | --- |")
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            dataset = _make(Path(folder), arguments.images, width, height)
            loaders = _loaders(dataset, Path(folder))
            for load in loaders.values():
                load(0)  # fills the cache, too
            seconds: dict[str, list[float]] = {name: [] for name in loaders}
            for number in range(1, arguments.rounds + 1):
                for name, load in loaders.items():
                    started = time.perf_counter()
                    load(number)
                    seconds[name].append(time.perf_counter() - started)
        for name, rounds in seconds.items():
            ratios = sorted(theirs / ours for theirs, ours in zip(seconds[REFERENCE], rounds, strict=True))
            print(
                f"| {width} x {height} | {name} | {arguments.images / statistics.median(rounds):.0f} | "
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
                flush=True,
            )


def _make(folder: Path, count: int, width: int, height: int) -> CocoDataset:
    """JPEGs with shapes of all sizes and a little noise, of about 1 bit a pixel, as cameras write them."""
    rng = np.random.default_rng(0)
    images, objects = [], {}
    for number in range(1, count + 1):
        content = np.zeros((height, width, 3), np.float32)
        for cells in (4, 16, 64):
            coarse = rng.uniform(0, 255, (cells * 3 // 4, cells, 3)).astype(np.float32)
            content += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 3
        content += rng.normal(0, 3, (height, width, 1))
        Image.fromarray(content.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=88)
        corner = rng.uniform(0, 0.7, (OBJECTS, 2)) * (width, height)
        boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.3, (OBJECTS, 2)) * (width, height)], axis=1)
        objects[number] = Objects(boxes.astype(np.float32), np.zeros(OBJECTS, np.int64), np.zeros(OBJECTS, bool))
        images.append(ImageInfo(number, f"{number}.jpg", width, height))
    return CocoDataset(tuple(images), ("thing",), (1,), objects)


def _loaders(dataset: CocoDataset, folder: Path) -> dict[str, Callable[[int], None]]:
    """Each loads all images once, in batches; the number stands for the epoch."""
    augment = load_params().train.augment.model_copy(update={"orientation": "any"})
    augmentation = Augmentation(augment, SIDE, SIDE, PADDING)
    plain = TrainingImages(dataset, folder, augmentation, 0)
    cached = TrainingImages(dataset, folder, augmentation, 0, ImageCache(folder / "cache"))
    settings = augmentation.settings
    jitter = v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue)
    same_steps = v2.Compose(
        [
            v2.PILToTensor(),
            v2.ScaleJitter((SIDE, SIDE), tuple(settings.scale)),
            v2.RandomCrop((SIDE, SIDE), pad_if_needed=True, fill=dict.fromkeys([tv_tensors.Image, torch.Tensor], 118)),
            v2.RandomHorizontalFlip(settings.flip_horizontal),
            v2.RandomVerticalFlip(0.5),
            v2.RandomApply([jitter], 0.8),
            v2.ToDtype(torch.float32, scale=True),
            v2.SanitizeBoundingBoxes(),
        ]
    )
    hflip = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize(SIDE - 1, max_size=SIDE, antialias=False),
        ]
    )

    def ours(images: TrainingImages) -> Callable[[int], None]:
        def load(epoch: int) -> None:
            for first in range(0, len(images), BATCH):
                rows = range(first, min(first + BATCH, len(images)))
                collate([images[SampleKey(epoch, row, SIDE)] for row in rows], PADDING)

        return load

    def theirs(transforms: v2.Transform) -> Callable[[int], None]:
        def load(epoch: int) -> None:
            torch.manual_seed(epoch)
            for info in dataset.images:
                with Image.open(folder / info.file_name) as opened:
                    image = opened.convert("RGB")
                found = dataset.objects[info.id]
                boxes = tv_tensors.BoundingBoxes(
                    torch.from_numpy(found.boxes_xyxy), format="XYXY", canvas_size=(info.height, info.width)
                )
                transforms(image, {"boxes": boxes, "labels": torch.from_numpy(found.labels)})

        return load

    def pil(epoch: int) -> None:
        for info in dataset.images:
            with Image.open(folder / info.file_name) as opened:
                image = opened.convert("RGB").resize((SIDE, SIDE * info.height // info.width))
            torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)

    return {
        "ours": ours(plain),
        "ours, cached": ours(cached),
        REFERENCE: theirs(same_steps),
        "torchvision v2, hflip": theirs(hflip),
        "plain PIL": pil,
    }


if __name__ == "__main__":
    main()

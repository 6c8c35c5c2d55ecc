"""A task that is learned in seconds: white squares on gray noise. As a program, it trains and writes the result."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from retinanet import distributed
from retinanet.config.model import Model
from retinanet.config.params import load_params
from retinanet.config.training import Runtime, Train
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects, read_coco, write_coco
from retinanet.images.preprocess import InputSize
from retinanet.model.retinanet import RetinaNet
from retinanet.training.checkpoint import lock_folder
from retinanet.training.fit import Epoch, TrainingSets, fit
from retinanet.training.process import StopSignal

CPU = torch.device("cpu")
NETWORK = {
    "backbone": "timm/resnet10t",
    "weights": "none",
    "frozen_stages": 0,
    "frozen_norm": False,
    "pyramid_width": 32,
    "head_width": 64,
    "head_depth": 1,
    "short_side": 96,
    "long_side": 128,
}
PARAMS = Path(__file__).parents[2] / "params.yaml"


def small_network(**changed: object) -> Model:
    """A network that runs in milliseconds."""
    settings = load_params(PARAMS).model
    return settings.model_copy(
        update=NETWORK | {"anchors": settings.anchors.model_copy(update={"scales_per_octave": 2})} | changed
    )


def torchvision_v1_network(settings: Model) -> Model:
    """The settings with the architecture of torchvision's retinanet_resnet50_fpn."""
    return Model.model_validate(
        settings.model_dump()
        | {"backbone": "resnet50", "p6_from": "p5", "frozen_norm": True, "head_norm": "none"}
        | {"pyramid_width": 256, "head_width": 256, "head_depth": 4}
        | {"anchors": settings.anchors.model_dump() | {"scales_per_octave": 3, "convention": "torchvision"}}
    )


def build_network(settings: Model, num_classes: int) -> RetinaNet:
    return RetinaNet(num_classes, **settings.architecture())


def short_training(**changed: object) -> Train:
    plain = {"epochs": 3, "batch_size": 4, "validate_every": 1, "ema_steps": 5}
    return load_params(PARAMS).train.model_copy(update=plain | changed)


def short_runtime(**changed: object) -> Runtime:
    return load_params(PARAMS).runtime.model_copy(update={"workers": 0} | changed)


INPUT_SIZE = InputSize(96, 128)


def fit_squares(
    model: RetinaNet,
    squares: CocoDataset,
    root: Path,
    folder: Path,
    stop: StopSignal | None = None,
    workers: int = 0,
    **changed: object,
) -> Iterator[Epoch]:
    """Train and validate on the squares, with the settings of short_training and `changed`."""
    sets, runtime = TrainingSets(squares, squares, root), short_runtime(workers=workers)
    return fit(model, sets, short_training(**changed), runtime, INPUT_SIZE, CPU, folder, stop=stop)


def make_squares(root: Path) -> CocoDataset:
    """Eight gray images, all but the last with a white square of 40 px."""
    rng = np.random.default_rng(0)
    images, objects = [], {}
    for i in range(1, 9):
        canvas = rng.integers(60, 90, (96, 96, 3), np.uint8)
        x, y = rng.integers(0, 56, 2)
        count = int(i < 8)
        if count:
            canvas[y : y + 40, x : x + 40] = 250
        Image.fromarray(canvas).save(root / f"{i}.png")
        boxes = np.array([[x, y, x + 40, y + 40]] * count, np.float32).reshape(-1, 4)
        objects[i] = Objects(boxes, np.zeros(count, np.int64), np.zeros(count, bool))
        images.append(ImageInfo(i, f"{i}.png", 96, 96))
    dataset = CocoDataset(tuple(images), ("square",), (1,), objects)
    write_coco(dataset, root / "squares.json")
    return dataset


def digest(epoch: Epoch) -> str:
    """A hash of an epoch's weights."""
    joined = b"".join(tensor.numpy().tobytes() for tensor in epoch.weights.values())
    return hashlib.sha256(joined).hexdigest()


def main() -> None:
    """squares.py FOLDER {train settings} {model settings}: writes all epochs' metrics and a hash to FOLDER/result.json.

    The images are read from `images` beside FOLDER, where make_squares wrote them.
    """
    folder, changed, network = Path(sys.argv[1]), *map(json.loads, sys.argv[2:])
    torch.set_num_threads(1)
    stop = StopSignal()
    with distributed.process_group() as here:
        torch.manual_seed(0)
        # Unfrozen norms would use the statistics of half a batch in each of two processes.
        model = build_network(small_network(frozen_norm=True, **network), 1)
        images = folder.parent / "images"
        squares = read_coco(images / "squares.json")
        # An odd number, which two processes cannot divide evenly.
        odd = replace(squares, images=squares.images[:-1])
        lock = lock_folder(folder / "checkpoints", 30) if here.rank == 0 else None
        settings, runtime = short_training(**changed), short_runtime(processes=here.size)
        sets, checkpoints = TrainingSets(squares, odd, images), folder / "checkpoints"
        epochs = list(fit(model, sets, settings, runtime, INPUT_SIZE, CPU, checkpoints, stop=stop))
        if lock:
            rows = [{"epoch": e.number, **e.metrics} for e in epochs]
            (folder / "result.json").write_text(json.dumps({"epochs": rows, "weights": digest(epochs[-1])}))


if __name__ == "__main__":
    main()

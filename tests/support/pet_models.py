"""A source of models for the service whose network is instantaneous, and waits or fails as tests ask."""

import base64
import io
import threading
from collections.abc import Callable

import numpy as np
from PIL import Image

from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.serving.limits import Limits
from retinanet.serving.metrics import Metrics
from retinanet.serving.models import Models
from retinanet.serving.service import Service


def encoded(width: int = 8, height: int = 6, format: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, format)
    return file.getvalue()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


class PetNetwork:
    """A network that finds a cat of score 0.9 and a dog of 0.2 in each image; tests may hold it up or let it fail."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()
        self.batches: list[int] = []
        self.fail_on: Callable[[int], bool] = lambda images: False

    def __call__(self, images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        self.started.set()
        self.go.wait(10)
        self.batches.append(len(images))
        if self.fail_on(len(images)):
            raise RuntimeError("secret of the network")
        return [
            Detections(
                np.array([[0, 0, width, height], [0, 0, width / 2, height / 2]], np.float32),
                np.array([0.9, 0.2], np.float32),
                np.array([0, 1]),
            )
            for height, width in sizes.tolist()
        ]


class PetSource:
    """A source of models whose current version, failures and networks tests choose."""

    name, follows = "pets", True

    def __init__(self, tiling: Tiling = UNCUT) -> None:
        self.version, self.opened, self.tiling = "1", list[str](), tiling
        self.network = PetNetwork()
        self.error: Exception | None = None

    def find(self) -> str:
        if self.error:
            raise self.error
        return self.version

    def open(self, version: str) -> Detector:
        self.opened.append(version)
        if version == "damaged":
            raise RuntimeError("secret of the file")
        sides = InputSize(96, 96)
        return Detector(self.network, ("cat", "dog"), (1, 2), sides, (0, 0, 0), (0.5, 0.1), self.tiling)


def new_service(source: PetSource, batch_size: int = 1, **limits: int) -> Service:
    """A service of the source; what its network did to warm up is forgotten."""
    metrics = Metrics()
    service = Service(Models(source, metrics), Limits(**limits), metrics, batch_size)
    source.network.batches.clear()
    source.network.started.clear()
    return service

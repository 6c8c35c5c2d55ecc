"""The model in service: opened, warmed up, and replaced when its source names another version."""

import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from retinanet.errors import RetinanetError, WeightsError
from retinanet.export.runtimes import RUNTIMES, load_detector
from retinanet.files import sha256_of
from retinanet.inference.detector import Detector
from retinanet.serving.metrics import Metrics

# How long a version that could not be opened is left alone.
RETRY_S = 60.0


class ModelSource(Protocol):
    """Names the version to serve and opens versions; both raise RetinanetError."""

    name: str
    follows: bool  # whether `find` may name another version later

    def find(self) -> str: ...

    def open(self, version: str) -> Detector: ...


class ModelFile:
    """An exported model in a file, whose version is the start of its sha256."""

    follows = False

    def __init__(self, path: Path):
        suffixes = [Path(runtime.file_name).suffix for runtime in RUNTIMES.values()]
        if path.suffix not in suffixes:
            raise WeightsError(f"{path}: not an exported model ({', '.join(suffixes)}); `dvc repro export` writes one")
        if not path.is_file():
            raise WeightsError(f"{path} does not exist; create it with `dvc repro export`")
        self.path, self.name = path, path.name

    def find(self) -> str:
        return sha256_of(self.path)[:12]

    def open(self, version: str) -> Detector:
        return load_detector(self.path)


class OpenModel(NamedTuple):
    name: str
    version: str
    detector: Detector


class Models:
    """`current` is the model to use for the next request; a request keeps the one that it began with.

    Creating it opens the model. Raises RetinanetError.
    """

    def __init__(self, source: ModelSource, metrics: Metrics):
        self.problem: str | None = None
        self._source, self._metrics = source, metrics
        self._not_before: dict[str, float] = {}
        self._ended = threading.Event()
        self.current = self._open(source.find())

    def follow(self, every_s: float) -> None:
        """Look every few seconds, in a thread, whether the source names another version, until `end` is called."""
        if self._source.follows and every_s > 0:
            threading.Thread(target=self._follow, args=(every_s,), name="follow", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def refresh(self) -> None:
        """Open the version that the source names now; the current one stays in service if that fails."""
        try:
            version = self._source.find()
            if version != self.current.version:
                self._replace(version)
            else:
                self._say(None)
        except RetinanetError as error:
            self._say(" ".join(str(error).split()))
        except Exception as error:
            # Whatever a store or a damaged model raises, the current version can be served.
            traceback.print_exc()
            self._say(f"unexpected {type(error).__name__}; the log has the traceback")

    def _follow(self, every_s: float) -> None:
        while not self._ended.wait(every_s):
            self.refresh()

    def _replace(self, version: str) -> None:
        if time.monotonic() < self._not_before.get(version, 0):
            return
        self._not_before = {version: time.monotonic() + RETRY_S}
        self.current = self._open(version)
        self._not_before = {}
        self._say(None)

    def _open(self, version: str) -> OpenModel:
        detector = self._source.open(version)
        short, long = detector.input_size
        detector([np.zeros((short, long, 3), np.uint8)])  # the first run allocates and chooses algorithms
        model = OpenModel(self._source.name, version, detector)
        self._metrics.model.info({"name": model.name, "version": version})
        print(f"serving {model.name} version {version}", flush=True)
        return model

    def _say(self, problem: str | None) -> None:
        if problem and problem != self.problem:
            print(f"still serving version {self.current.version}: {problem}", file=sys.stderr, flush=True)
        self.problem = problem
        self._metrics.model_problem.set(problem is not None)

"""What `prepare` decided for the whole dataset, for the stages after it: data/prepared/decisions.json."""

import json
from pathlib import Path
from typing import NamedTuple

from retinanet.config.fields import Orientation
from retinanet.errors import AnnotationError
from retinanet.files import write_json


class Decisions(NamedTuple):
    """tile_size in px, 0 if images are whole; tile_overlap as a share of it; orientation: `any` for images without
    a fixed one; epochs of training, if the source says how many."""

    tile_size: int
    tile_overlap: float
    orientation: Orientation
    epochs: int | None = None


def write_decisions(decisions: Decisions, path: Path) -> None:
    write_json(path, decisions._asdict())


def read_decisions(path: Path) -> Decisions:
    """Raises AnnotationError if the file is missing."""
    try:
        return Decisions(**json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}; run `dvc repro prepare`") from error

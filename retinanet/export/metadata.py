"""What an exported model says about itself, as JSON inside its file: classes, input size, thresholds ..."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize, padding_color
from retinanet.images.reading import Reading
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import DecodeSettings
from retinanet.inference.detector import Detector, RunNetwork

if TYPE_CHECKING:
    from retinanet.model.weights import TrainedModel

KEY = "retinanet"  # of the metadata in the file
# What detector_of raises for the metadata of another program.
METADATA_ERRORS = (KeyError, TypeError, ValueError)


def metadata_of(trained: "TrainedModel", settings: DecodeSettings) -> str:
    """The text that detector_of reads."""
    return json.dumps(
        {
            "class_names": list(trained.class_names),
            "category_ids": list(trained.category_ids),
            "input_size": list(trained.input_size),
            "padding": padding_color(trained.model.backbone.mean),
            "decoding": vars(settings),
            "tiling": list(trained.tiling),
            "thresholds": list(trained.score_thresholds),
            "reading": trained.reading._asdict(),
        }
    )


def detector_of(run: RunNetwork, metadata: str) -> Detector:
    """A Detector that runs an exported network. Raises METADATA_ERRORS."""
    content = json.loads(metadata)
    return Detector(
        run,
        tuple(content["class_names"]),
        tuple(content["category_ids"]),
        InputSize(*content["input_size"]),
        tuple(content["padding"]),
        tuple(content["thresholds"]),
        Tiling(*content["tiling"]),
        Reading(**content["reading"]),
    )


def require_file(path: Path) -> None:
    """Raise WeightsError if there is no such file."""
    if not path.exists():
        raise WeightsError(f"{path} does not exist; create it with `dvc repro export`")


def damaged(path: Path, error: Exception) -> WeightsError:
    """The error for a file that a runtime cannot open, or that has no metadata of this project."""
    reason = " ".join(str(error).split())[:200]
    return WeightsError(f"{path} was not written by `dvc repro export`, or is damaged; export it again: {reason}")

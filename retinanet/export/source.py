"""What exported models are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retinanet.inference.detections import DecodeSettings

if TYPE_CHECKING:
    from retinanet.model.weights import TrainedModel


class Source(NamedTuple):
    """A trained model and how it decodes.

    onnx is the path of its ONNX file, which exists when other runtimes are written: they convert it. From images, files
    of val, the ranges of 8-bit numbers are chosen.
    """

    trained: "TrainedModel"
    settings: DecodeSettings
    onnx: Path
    images: Sequence[Path] = ()

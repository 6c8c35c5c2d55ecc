"""The registered model as MLflow serves it: images in base64 in, detections out; no torch, no files of the server.

A request has one column, "image": each row the base64 of an encoded image (JPEG, PNG, TIFF …). Each row is answered:
boxes [[left, top, right, bottom], …] in pixels, scores, labels (class names), and error, null where all went well.
params: score_threshold, to leave out detections below it.
"""

import base64
import binascii
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from retinanet.errors import ImageError
from retinanet.export.runtimes import load_exported
from retinanet.images.reading import read_image
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
MAX_IMAGES = 64


class ServedModel(PythonModel):
    """What `mlflow.pyfunc.load_model` gives; it opens the exported model among the artifacts."""

    def __init__(self, load: Callable[[Path], Detector] = load_exported):
        self._load = load

    def load_context(self, context: PythonModelContext) -> None:
        self.detector = self._load(Path(context.artifacts["exported"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> pd.DataFrame:
        threshold = float((params or {}).get("score_threshold", 0.0))
        rows = _images(model_input)
        answers = [answer(image, self.detector, threshold) for image in rows[:MAX_IMAGES]]
        too_many = _refusal(f"more than {MAX_IMAGES} images in one request; send fewer")
        # As objects: a column of texts would turn None into NaN, which is no JSON.
        return pd.DataFrame(answers + [too_many] * len(rows[MAX_IMAGES:]), dtype=object)


def answer(image: object, detector: Detector, score_threshold: float) -> dict:
    """The detections on one image, or the error that says why there are none."""
    try:
        found = detector([decode_image(image)])[0].above(score_threshold)
    except ImageError as error:
        return _refusal(str(error))
    return _row(found, detector.class_names)


def decode_image(image: object) -> np.ndarray:
    """The image (H, W, 3) uint8 of a base64 text. Raises ImageError, also for a path or a URL."""
    if not isinstance(image, str):
        raise ImageError(f'"image" is {type(image).__name__}; it must be the base64 text of an encoded image')
    if len(image) * 3 // 4 > MAX_BYTES:
        raise ImageError(f"the image has more than {MAX_BYTES} bytes; send a smaller one")
    try:
        content = base64.b64decode("".join(image.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError('"image" is no base64; paths and URLs are not opened') from error
    if not content:
        raise ImageError('"image" is empty; it must be the base64 text of an encoded image')
    return read_image(io.BytesIO(content), MAX_PIXELS)


def _images(model_input: pd.DataFrame) -> list[object]:
    # MLflow drops columns that it does not know; a request without "image" still gets an answer.
    rows = list(model_input["image"]) if "image" in model_input else [None]
    # {"inputs": {"image": [...]}} arrives as one row that holds them all.
    return rows[0] if len(rows) == 1 and isinstance(rows[0], list) else rows


def _row(found: Detections, class_names: Sequence[str]) -> dict:
    return {
        "boxes": [[round(edge, 2) for edge in box] for box in found.boxes_xyxy.astype(float).tolist()],
        "scores": [round(score, 4) for score in found.scores.astype(float).tolist()],
        "labels": [class_names[label] for label in found.labels],
        "error": None,
    }


def _refusal(reason: str) -> dict:
    return {"boxes": [], "scores": [], "labels": [], "error": reason}


# MLflow runs this file to make the model; the file, not a pickle, is what a version holds.
mlflow.models.set_model(ServedModel())

"""The registered model as MLflow serves it: base64 images to detections. It needs no torch and opens no other files.

A request has one column, "image": each row is the base64 text of an encoded image (JPEG, PNG, TIFF …). The response
has a row for each: boxes [[left, top, right, bottom], …] in pixels, scores, labels (class names), and error, which is
null for a valid image. Detections have at least the score of their class's operating point, which was chosen on val;
the param score_threshold, 0 to 1, replaces it for all classes.
"""

import base64
import binascii
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from retinanet.errors import ImageError
from retinanet.export.runtimes import load_exported
from retinanet.images.reading import Reading, read_image
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector

MAX_BYTES = 20_000_000
MAX_IMAGES = 64  # in a request to the service
SERVER_MODULE = "mlflow.pyfunc.scoring_server.app"


class ServedModel(PythonModel):
    """The pyfunc that MLflow loads; it opens the exported model among the artifacts."""

    def __init__(self, load: Callable[[Path], Detector] = load_exported):
        self._load = load

    def load_context(self, context: PythonModelContext) -> None:
        self.detector = self._load(Path(context.artifacts["exported"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> pd.DataFrame:
        threshold = (params or {}).get("score_threshold")
        thresholds = self.detector.thresholds if threshold is None else float(threshold)
        rows = _image_column(model_input)
        answered = MAX_IMAGES if _in_service() else len(rows)
        answers = [respond(image, self.detector, thresholds) for image in rows[:answered]]
        too_many = _error_row(f"more than {MAX_IMAGES} images in one request; send fewer")
        # dtype object: a column of strings would turn None into NaN, which is not JSON.
        return pd.DataFrame(answers + [too_many] * len(rows[answered:]), dtype=object)


def respond(image: object, detector: Detector, thresholds: float | Sequence[float]) -> dict:
    """The response row of one image: its detections, or an error."""
    try:
        detections = detector([decode_image(image, detector.reading)])[0].above(thresholds)
    except ImageError as error:
        return _error_row(str(error))
    return _row(detections, detector.class_names)


def decode_image(image: object, reading: Reading) -> np.ndarray:
    """Decode a base64 text to an image (H, W, 3) uint8. Raises ImageError, also for a path or a URL."""
    if not isinstance(image, str):
        raise ImageError(f'"image" is {type(image).__name__}; it must be the base64 text of an encoded image')
    if len(image) * 3 // 4 > MAX_BYTES:
        raise ImageError(f"the image has more than {MAX_BYTES} bytes; send a smaller one")
    try:
        content = base64.b64decode("".join(image.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError('"image" is not base64; paths and URLs are not opened') from error
    if not content:
        raise ImageError('"image" is empty; it must be the base64 text of an encoded image')
    return read_image(io.BytesIO(content), reading)


def _in_service() -> bool:
    """Whether this process is MLflow's server; a job that loads the model itself may pass any number of rows."""
    return SERVER_MODULE in sys.modules


def _image_column(model_input: pd.DataFrame) -> list[object]:
    # MLflow drops unknown columns; a request without "image" still gets a row.
    rows = list(model_input["image"]) if "image" in model_input else [None]
    # {"inputs": {"image": [...]}} arrives as one row that holds the list.
    return rows[0] if len(rows) == 1 and isinstance(rows[0], list) else rows


def _row(detections: Detections, class_names: Sequence[str]) -> dict:
    return {
        "boxes": [[round(edge, 2) for edge in box] for box in detections.boxes_xyxy.astype(float).tolist()],
        "scores": [round(score, 4) for score in detections.scores.astype(float).tolist()],
        "labels": [class_names[label] for label in detections.labels],
        "error": None,
    }


def _error_row(reason: str) -> dict:
    return {"boxes": [], "scores": [], "labels": [], "error": reason}


# MLflow runs this file to create the model: a version holds the file instead of a pickle.
mlflow.models.set_model(ServedModel())

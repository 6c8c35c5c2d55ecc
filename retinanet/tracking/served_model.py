"""The registered model as MLflow serves it: base64 images to detections. It needs no torch and opens no other files.

A request has one column, "image": each row is the base64 text of an encoded image (JPEG, PNG, TIFF …). The response
has a row for each: boxes [[left, top, right, bottom], …] in pixels, scores, labels (class names), and error, which is
null for a valid image. Detections have at least the score of their class's operating point, which was chosen on val;
the param score_threshold, 0 to 1, replaces it for all classes.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from retinanet.errors import ImageError
from retinanet.export.runtimes import load_exported
from retinanet.inference.detector import Detector
from retinanet.serving.payload import check_image, decode_base64, decode_image, error_result, result_of

MAX_BYTES = 20_000_000
# In a request to the service; a job that loads the model itself has none of these limits.
MAX_IMAGES = 64
MAX_TILES = 200  # of an image
MAX_SECONDS = 30
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
        answered, seconds = (MAX_IMAGES, MAX_SECONDS) if _in_service() else (len(rows), math.inf)
        deadline = time.monotonic() + seconds
        too_late = error_result(f"not reached in {MAX_SECONDS} s; send fewer or smaller images")
        answers = [
            respond(image, self.detector, thresholds) if time.monotonic() < deadline else too_late
            for image in rows[:answered]
        ]
        too_many = error_result(f"more than {MAX_IMAGES} images in one request; send fewer")
        # dtype object: a column of strings would turn None into NaN, which is not JSON.
        return pd.DataFrame(answers + [too_many] * len(rows[answered:]), dtype=object)


def respond(image: object, detector: Detector, thresholds: float | Sequence[float]) -> dict:
    """The response row of one image: its detections, or an error."""
    try:
        content = decode_base64(image, MAX_BYTES)
        limits = detector.reading.max_pixels, MAX_TILES if _in_service() else None
        check_image(content, detector.tiling, *limits)
        detections = detector([decode_image(content, detector.reading)])[0].above(thresholds)
    except ImageError as error:
        return error_result(str(error))
    return result_of(detections, detector.class_names)


def _in_service() -> bool:
    """Whether this process is MLflow's server; a job that loads the model itself may pass any number of rows."""
    return SERVER_MODULE in sys.modules


def _image_column(model_input: pd.DataFrame) -> list[object]:
    # MLflow drops unknown columns; a request without "image" still gets a row.
    rows = list(model_input["image"]) if "image" in model_input else [None]
    # {"inputs": {"image": [...]}} arrives as one row that holds the list.
    return rows[0] if len(rows) == 1 and isinstance(rows[0], list) else rows


# MLflow runs this file to create the model: a version holds the file instead of a pickle.
mlflow.models.set_model(ServedModel())

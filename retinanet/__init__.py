"""A RetinaNet detector as an MLOps pipeline, and its trained models for use from Python:

    from retinanet import load_detector, read_image

    detector = load_detector("models/export/model.onnx")
    [detections] = detector([read_image("photo.jpg")])
    detections = detections.above(detector.thresholds)
    for box_xyxy, score, label in zip(detections.boxes_xyxy, detections.scores, detections.labels):
        print(detector.class_names[label], round(float(score), 2), box_xyxy)

load_detector: open an exported .onnx file, or a .safetensors file (which needs the extra `retinanet[pipeline]`).
Detector: call it with a list of RGB images (H, W, 3) uint8 of any size; it returns a Detections for each.
Detections: boxes_xyxy (D, 4) in pixels of the image, scores (D,) and labels (D,), best score first.
read_image: decode an image file or stream to RGB, upright.

Errors that a user can fix are a retinanet.errors.RetinanetError. Importing this package imports nothing else: each name
is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retinanet.export.runtimes import load_detector
    from retinanet.images.reading import read_image
    from retinanet.inference.detections import Detections
    from retinanet.inference.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detections", "Detector", "__version__", "load_detector", "read_image"]

_MODULES = {
    "Detections": "retinanet.inference.detections",
    "Detector": "retinanet.inference.detector",
    "load_detector": "retinanet.export.runtimes",
    "read_image": "retinanet.images.reading",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

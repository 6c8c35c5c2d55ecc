"""The ONNX runtime: writing a model needs torch, opening it needs only onnxruntime."""

import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import Reading
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.inference.detector import Detector

if TYPE_CHECKING:
    from retinanet.model.weights import TrainedModel

# How long a waiting thread spins before it sleeps. Without a limit, threads that spin take the cores from everything
# beside the network, as reading and writing images: images took 1.4 times as long. Older releases ignore it.
SPIN_MICROSECONDS = "200"


def write(path: Path, trained: "TrainedModel", settings: DecodeSettings) -> None:
    """Write the detector as path, and large weights beside it."""
    from retinanet.export.onnx_graph import write_onnx

    write_onnx(path, trained, settings)


def open_detector(path: Path) -> Detector:
    """Open an exported model with ONNX Runtime. Raises WeightsError."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

    if not path.exists():
        raise WeightsError(f"{path} does not exist; create it with `dvc repro export`")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    error_names = ("Fail", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    load_errors = [getattr(onnxruntime_errors, name) for name in error_names]
    try:
        session = onnxruntime.InferenceSession(path, options, providers=_providers(onnxruntime))
        metadata = json.loads(session.get_modelmeta().custom_metadata_map["retinanet"])
        class_names, category_ids = tuple(metadata["class_names"]), tuple(metadata["category_ids"])
        input_size, tiling = InputSize(*metadata["input_size"]), Tiling(*metadata["tiling"])
        padding, thresholds = tuple(metadata["padding"]), tuple(metadata["thresholds"])
        reading = Reading(**metadata["reading"])
    except (KeyError, TypeError, ValueError, RuntimeError, *load_errors) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{path} was not written by `dvc repro export`, or is damaged; export it again: {reason}"
        ) from error

    def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        boxes, scores, labels, image_index = session.run(None, {"images": images, "sizes": sizes})
        detections = Detections(boxes, scores, labels)
        return [detections.rows(image_index == i) for i in range(len(images))]

    return Detector(run, class_names, category_ids, input_size, padding, thresholds, tiling, reading)


def _providers(onnxruntime: ModuleType) -> list[str]:
    # TensorRT is listed even if it is not installed; these two work whenever they are listed.
    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]

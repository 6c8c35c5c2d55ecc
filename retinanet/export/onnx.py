"""The ONNX file: how ONNX Runtime opens it. Written by onnx_graph, which needs torch; opening needs none."""

import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.inference.detector import Detector

if TYPE_CHECKING:
    from retinanet.model.weights import TrainedModel


def write(path: Path, trained: "TrainedModel", settings: DecodeSettings) -> None:
    from retinanet.export.onnx_graph import write_onnx

    write_onnx(path, trained, settings)


def open_detector(path: Path) -> Detector:
    """A Detector over ONNX Runtime. Raises WeightsError."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

    if not path.exists():
        raise WeightsError(f"{path} does not exist; `dvc repro export` makes it")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    damaged = [getattr(onnxruntime_errors, name) for name in ("Fail", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")]
    try:
        session = onnxruntime.InferenceSession(path, options, providers=_providers(onnxruntime))
        about = json.loads(session.get_modelmeta().custom_metadata_map["retinanet"])
        class_names, category_ids = tuple(about["class_names"]), tuple(about["category_ids"])
        input_size, padding, tiling = InputSize(*about["input_size"]), tuple(about["padding"]), Tiling(*about["tiling"])
    except (KeyError, TypeError, ValueError, RuntimeError, *damaged) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{path} is not a model that `dvc repro export` wrote, or it is damaged: {reason}"
        ) from error

    def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        boxes, scores, labels, image_index = session.run(None, {"images": images, "sizes": sizes})
        found = Detections(boxes, scores, labels)
        return [found.rows(image_index == i) for i in range(len(images))]

    return Detector(run, class_names, category_ids, input_size, padding, tiling)


def _providers(onnxruntime: ModuleType) -> list[str]:
    # TensorRT is listed if the wheel was built with it, installed or not; these two run wherever they are listed.
    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]

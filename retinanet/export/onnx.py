"""The ONNX runtime: writing a model needs torch, opening it needs only onnxruntime."""

from pathlib import Path
from types import ModuleType

import numpy as np

from retinanet.export.metadata import KEY, METADATA_ERRORS, damaged, detector_of, require_file
from retinanet.export.source import Source
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector

# How long a waiting thread spins before it sleeps. Without a limit, threads that spin take the cores from everything
# beside the network, as reading and writing images: images took 1.4 times as long. Older releases ignore it.
SPIN_MICROSECONDS = "200"


def write(path: Path, source: Source) -> None:
    """Write the detector as path, and large weights beside it."""
    from retinanet.export.onnx_graph import write_onnx

    write_onnx(path, source.trained, source.settings)


def open_detector(path: Path) -> Detector:
    """Open an exported model with ONNX Runtime. Raises WeightsError."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

    require_file(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    error_names = ("Fail", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    load_errors = [getattr(onnxruntime_errors, name) for name in error_names]

    def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        boxes, scores, labels, image_index = session.run(None, {"images": images, "sizes": sizes})
        detections = Detections(boxes, scores, labels)
        return [detections.rows(image_index == i) for i in range(len(images))]

    try:
        session = onnxruntime.InferenceSession(path, options, providers=_providers(onnxruntime))
        return detector_of(run, session.get_modelmeta().custom_metadata_map[KEY])
    except (RuntimeError, *METADATA_ERRORS, *load_errors) as error:
        raise damaged(path, error) from error


def _providers(onnxruntime: ModuleType) -> list[str]:
    # TensorRT is listed even if it is not installed; these two work whenever they are listed.
    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]

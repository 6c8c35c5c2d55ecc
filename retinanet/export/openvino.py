"""The OpenVINO runtime, for CPUs: writing a model converts its ONNX file, opening it needs only openvino."""

import re
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np

from retinanet.errors import WeightsError
from retinanet.export.metadata import KEY, METADATA_ERRORS, damaged, detector_of, require_file
from retinanet.export.source import Source
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector

if TYPE_CHECKING:
    import openvino

# The network is compiled for each of the first input sizes, a second each: with a size that is not fixed it takes 1.4
# times as long. Most folders and services have one or two sizes; any more share one network.
MAX_COMPILED = 4
METADATA = ["framework", KEY]  # where OpenVINO keeps that of the ONNX file
HINTS = {"fp32": "f32", "bf16": "bf16"}  # OpenVINO's names


def write(path: Path, source: Source) -> None:
    """Write the detector as path, and its float32 weights beside it. Raises WeightsError without openvino."""
    save(read(path, source.onnx), path)


def read(path: Path, onnx: Path) -> "openvino.Model":
    """The network of an ONNX file, to be written as path. Raises WeightsError without openvino."""
    return _openvino(path).Core().read_model(onnx)


def save(model: "openvino.Model", path: Path) -> None:
    """Write a network that was made of an ONNX file; the same network gives the same bytes."""
    for number, operation in enumerate(model.get_ordered_ops()):
        # Names that OpenVINO made up have a number that counts all operations of the process.
        if re.fullmatch(rf"{operation.get_type_name()}_\d+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    _openvino(path).save_model(model, path, compress_to_fp16=False)


def open_detector(path: Path) -> Detector:
    """Open an exported model with OpenVINO. Raises WeightsError."""
    require_file(path)
    core = _openvino(path).Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": HINTS[float_precision()]}
    # One image at a time: it uses all cores, and a request for inference must not be used by two threads.
    turn = threading.Lock()
    try:
        model = core.read_model(path)
        metadata = model.get_rt_info(METADATA).astype(str)

        networks: dict[tuple[int, int] | None, openvino.CompiledModel] = {}

        def network(height: int, width: int) -> "openvino.CompiledModel":
            is_new = (height, width) not in networks
            size = None if is_new and len(networks) >= MAX_COMPILED else (height, width)
            if size not in networks:
                model.reshape({"images": [1, *(size or (-1, -1)), 3], "sizes": [1, 2]})
                networks[size] = core.compile_model(model, "CPU", settings)
            return networks[size]

        def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
            with turn:
                compiled = network(images.shape[1], images.shape[2])
                return [_detect(compiled, image[None], size[None]) for image, size in zip(images, sizes, strict=True)]

        return detector_of(run, metadata)
    except (RuntimeError, *METADATA_ERRORS) as error:
        raise damaged(path, error) from error


def float_precision() -> Literal["fp32", "bf16"]:
    """What float32 weights are computed in on this processor: bf16 if it is faster in it, otherwise fp32.

    AMD's Zen 4 and 5 are twice as fast in bfloat16. An Intel Xeon with AVX512-BF16 and without AMX takes 1.4 times as
    long, and as long in float16.
    """
    import openvino

    core = openvino.Core()
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    is_intel = "Intel" in core.get_property("CPU", "FULL_DEVICE_NAME")
    return "bf16" if has_bf16 and (_has_amx() or not is_intel) else "fp32"


def _has_amx() -> bool:
    """Whether Linux lists the instructions, which OpenVINO does not; elsewhere such processors are rare."""
    try:
        return " amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _detect(network: "openvino.CompiledModel", images: np.ndarray, sizes: np.ndarray) -> Detections:
    found = network({"images": images, "sizes": sizes})
    return Detections(found["boxes"], found["scores"], found["labels"])


def _openvino(path: Path) -> ModuleType:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{path} needs openvino, which is not installed; run pip install 'retinanet[openvino]'"
        ) from error
    return openvino

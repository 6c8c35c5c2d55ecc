"""OpenVINO with 8-bit integers, quantized by NNCF on val images. Opening such a model needs only openvino."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from retinanet.errors import WeightsError
from retinanet.export import openvino
from retinanet.export.metadata import detector_of, metadata_of
from retinanet.export.source import Source
from retinanet.images.reading import read_image
from retinanet.inference.detections import Detections

if TYPE_CHECKING:
    from openvino import Model


def write(path: Path, source: Source) -> None:
    """Write the detector as path with all its convolutions in 8 bits. Raises WeightsError without openvino and nncf."""
    _write(path, source, float_part="nothing")


def write_backbone_in_float(path: Path, source: Source) -> None:
    """Write it with 8 bits in the pyramid and the subnets only."""
    _write(path, source, float_part="model.backbone")


MORE_EXACT = {" with its backbone in float": write_backbone_in_float}


def _write(path: Path, source: Source, float_part: str) -> None:
    """Quantize all convolutions except those whose weights' names begin with float_part."""
    nncf = _nncf(path)
    model, inputs = openvino.read(path, source.onnx), network_inputs(source)
    in_float = [name for name, weight in _convolutions(model) if weight.startswith(float_part)]
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        quantized = nncf.quantize(
            model,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,  # asymmetric ranges of activations
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=in_float),
        )
    openvino.save(quantized, path)


def network_inputs(source: Source) -> list[dict[str, np.ndarray]]:
    """The inputs of the network, one image each, for all images of the source, as a Detector makes them."""
    inputs: list[dict[str, np.ndarray]] = []

    def record(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        pairs = zip(images, sizes, strict=True)
        inputs.extend({"images": image[None], "sizes": size[None]} for image, size in pairs)
        return [Detections.empty()] * len(images)

    detector = detector_of(record, metadata_of(source.trained, source.settings))
    for path in source.images:
        detector([read_image(path, detector.reading)])
    return inputs


def _nncf(path: Path) -> ModuleType:
    # Otherwise it sends statistics of its use to Google Analytics.
    os.environ.setdefault("NNCF_CI", "1")
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{path}: 8-bit models are made by nncf, which is not installed; run pip install 'retinanet[int8]'"
        ) from error
    nncf.set_log_level(logging.ERROR)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no CUDA
    return nncf


def _convolutions(model: "Model") -> Iterator[tuple[str, str]]:
    """The name of each convolution, and that of its weights as in the PyTorch network, after "model."."""
    for operation in model.get_ordered_ops():
        if operation.get_type_name() in ("Convolution", "GroupConvolution"):
            weights = operation.input_value(1).get_node()
            while weights.get_type_name() != "Constant":  # it is reshaped
                weights = weights.input_value(0).get_node()
            yield operation.get_friendly_name(), weights.get_friendly_name()

"""The runtimes that a model can be exported to.

To add a runtime, add a module with `write` and `open_detector`, an entry in RUNTIMES, and a test. The export stage, the
registry, predict and the served model use this table only.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from retinanet.errors import WeightsError
from retinanet.export import onnx, openvino, openvino_int8
from retinanet.export.source import Source
from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings
from retinanet.inference.detector import Detector

Write = Callable[[Path, Source], None]
Precision = Literal["fp32", "bf16", "int8"]


class ExportRuntime(NamedTuple):
    """An exported model is `file_name`, and the files with the same stem that `write` puts beside it.

    requirements are the packages that open_detector needs in addition to Detector's. precision is what this machine
    computes in: it decides how closely the detections must agree with PyTorch's. If they do not, the other ways of
    writing in more_exact, by name, are tried in their order.
    """

    file_name: str
    requirements: tuple[str, ...]
    write: Write
    open_detector: Callable[[Path], Detector]
    precision: Callable[[], Precision] = lambda: "fp32"
    more_exact: Mapping[str, Write] = MappingProxyType({})

    def files(self, folder: Path) -> list[Path]:
        """The files of the exported model in a folder."""
        stem = Path(self.file_name).stem
        return sorted(path for path in folder.iterdir() if path.name.split(".")[0] == stem)


RUNTIMES = {
    "onnx": ExportRuntime("model.onnx", ("onnxruntime",), onnx.write, onnx.open_detector),
    "openvino": ExportRuntime(
        "openvino.xml", ("openvino",), openvino.write, openvino.open_detector, openvino.float_precision
    ),
    "openvino-int8": ExportRuntime(
        "openvino-int8.xml",
        ("openvino",),
        openvino_int8.write,
        openvino.open_detector,
        lambda: "int8",
        openvino_int8.MORE_EXACT,
    ),
}


def load_detector(path: Path | str, settings: DecodeSettings = STANDARD_DECODING, device: str = "cpu") -> Detector:
    """Open an exported model, or the .safetensors file of training. Raises WeightsError.

    settings and device apply to .safetensors only, which needs torch; an exported model contains its settings.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from retinanet.inference.network import torch_detector
        from retinanet.model.weights import load_model

        return torch_detector(load_model(path), settings, device)
    by_suffix = {Path(runtime.file_name).suffix: runtime for runtime in RUNTIMES.values()}
    if path.suffix in by_suffix:
        return by_suffix[path.suffix].open_detector(path)
    suffixes = ", ".join(by_suffix)
    raise WeightsError(f"{path}: not a model file; expected .safetensors or an exported model ({suffixes})")


def exported_runtime(folder: Path, preferred: str = "onnx") -> ExportRuntime:
    """The runtime of the exported model in a folder: the preferred one or, without it, the first of RUNTIMES.

    Raises WeightsError if there is none.
    """
    for runtime in (RUNTIMES.get(preferred, RUNTIMES["onnx"]), *RUNTIMES.values()):
        if (folder / runtime.file_name).exists():
            return runtime
    names = " or ".join(runtime.file_name for runtime in RUNTIMES.values())
    raise WeightsError(f"{folder}: no exported model ({names}); create one with `dvc repro export`")


def load_exported(folder: Path) -> Detector:
    """Open the exported model in a folder. Raises WeightsError."""
    runtime = exported_runtime(folder)
    return runtime.open_detector(folder / runtime.file_name)

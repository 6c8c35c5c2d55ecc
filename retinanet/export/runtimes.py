"""The runtimes that a model can be exported to.

To add a runtime, add a module with `write` and `open_detector`, an entry in RUNTIMES, and a test. The export stage, the
registry, predict and the served model use this table only.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retinanet.errors import WeightsError
from retinanet.export import onnx
from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings
from retinanet.inference.detector import Detector

if TYPE_CHECKING:
    from retinanet.model.weights import TrainedModel


class ExportRuntime(NamedTuple):
    """An exported model is `file_name`, whose suffix is the runtime's own, and the files that `write` puts beside it.

    requirements are the packages that open_detector needs in addition to Detector's.
    """

    file_name: str
    requirements: tuple[str, ...]
    write: Callable[[Path, "TrainedModel", DecodeSettings], None]
    open_detector: Callable[[Path], Detector]


RUNTIMES = {"onnx": ExportRuntime("model.onnx", ("onnxruntime",), onnx.write, onnx.open_detector)}


def load_detector(path: Path | str, settings: DecodeSettings = STANDARD_DECODING, device: str = "cpu") -> Detector:
    """Open an exported model, or the .safetensors file of training. Raises WeightsError.

    settings and device apply to .safetensors only, which needs torch; an exported model contains its settings.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from retinanet.inference.network import torch_detector
        from retinanet.model.weights import load_model

        return torch_detector(load_model(path), settings, device)
    for runtime in RUNTIMES.values():
        if path.suffix == Path(runtime.file_name).suffix:
            return runtime.open_detector(path)
    suffixes = ", ".join(Path(runtime.file_name).suffix for runtime in RUNTIMES.values())
    raise WeightsError(f"{path}: not a model file; expected .safetensors or an exported model ({suffixes})")


def exported_runtime(folder: Path) -> ExportRuntime:
    """The runtime of the exported model in a folder. Raises WeightsError if there is none."""
    for runtime in RUNTIMES.values():
        if (folder / runtime.file_name).exists():
            return runtime
    names = " or ".join(runtime.file_name for runtime in RUNTIMES.values())
    raise WeightsError(f"{folder}: no exported model ({names}); create one with `dvc repro export`")


def load_exported(folder: Path) -> Detector:
    """Open the exported model in a folder. Raises WeightsError."""
    runtime = exported_runtime(folder)
    return runtime.open_detector(folder / runtime.file_name)

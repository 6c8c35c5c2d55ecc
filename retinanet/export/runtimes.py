"""The runtimes that a model can be exported to: what each writes, what it needs, and how it is opened.

To add one: a module with `write` and `open_detector`, an entry of RUNTIMES, and a test. Export, the registry, predict
and the served model work by this table alone.
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


class Runtime(NamedTuple):
    """An exported model of this runtime is `file_name` and the files that `write` puts beside it.

    requirements are the packages that opening it needs, besides those of Detector itself.
    """

    file_name: str
    requirements: tuple[str, ...]
    write: Callable[[Path, "TrainedModel", DecodeSettings], None]
    open_detector: Callable[[Path], Detector]


RUNTIMES = {"onnx": Runtime("model.onnx", ("onnxruntime",), onnx.write, onnx.open_detector)}


def load_detector(path: Path | str, settings: DecodeSettings = STANDARD_DECODING, device: str = "cpu") -> Detector:
    """Open an exported model, or the .safetensors file that training wrote. Raises WeightsError.

    settings and device apply to .safetensors, which needs torch; an exported model has its own inside.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from retinanet.inference.network import torch_detector
        from retinanet.model.weights import load_model

        return torch_detector(load_model(path), settings, device)
    for runtime in RUNTIMES.values():
        if path.suffix == Path(runtime.file_name).suffix:
            return runtime.open_detector(path)
    known = ", ".join(Path(runtime.file_name).suffix for runtime in RUNTIMES.values())
    raise WeightsError(f"{path}: not a model file; a model is a .safetensors or an exported file ({known})")


def exported_runtime(folder: Path) -> Runtime:
    """The runtime of the model that was exported to a folder. Raises WeightsError if there is none."""
    for runtime in RUNTIMES.values():
        if (folder / runtime.file_name).exists():
            return runtime
    names = " or ".join(runtime.file_name for runtime in RUNTIMES.values())
    raise WeightsError(f"{folder}: no exported model ({names}); `dvc repro export` makes one")


def load_exported(folder: Path) -> Detector:
    """Open the model that was exported to a folder. Raises WeightsError."""
    runtime = exported_runtime(folder)
    return runtime.open_detector(folder / runtime.file_name)

"""Weights files: the project's detectors with everything needed to use them, and state dicts of other programs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import STANDARD_READING, Reading
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.model.retinanet import RetinaNet

ABOUT = "retinanet"  # key in the metadata of a .safetensors file
# Increase it when a reader of the previous version would fail, or misread the file.
FORMAT_VERSION = 1
# The threshold of every class until thresholds are chosen on val.
DEFAULT_THRESHOLD = 0.3


class TrainedModel(NamedTuple):
    """A network with its classes, the size that images are resized to, the tiling of larger images, and how image files
    are read.

    thresholds are the scores from which detections of each class count; empty until they are chosen on val.
    """

    model: RetinaNet
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    input_size: InputSize
    tiling: Tiling = UNCUT
    thresholds: tuple[float, ...] = ()
    reading: Reading = STANDARD_READING

    @property
    def score_thresholds(self) -> tuple[float, ...]:
        """(K,) thresholds, those that were chosen or the default."""
        return self.thresholds or (DEFAULT_THRESHOLD,) * len(self.class_names)


def save_model(path: Path, trained: TrainedModel, state: Mapping[str, Tensor] | None = None) -> None:
    """Write a model with everything needed to use it; `state` replaces the network's own weights.

    The same model gives the same bytes. Raises WeightsError if the file cannot be written.
    """
    state = trained.model.state_dict() if state is None else state
    about = {
        "format_version": FORMAT_VERSION,
        "architecture": trained.model.architecture,
        "class_names": list(trained.class_names),
        "category_ids": list(trained.category_ids),
        "input_size": list(trained.input_size),
        "tiling": list(trained.tiling),
        "thresholds": list(trained.thresholds),
        "reading": trained.reading._asdict(),
    }
    # One entry: safetensors writes several in an order that differs between processes.
    metadata = {ABOUT: json.dumps(about)}
    part = path.with_suffix(".part")
    try:
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, part, metadata)
    except safetensors.SafetensorError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{path} cannot be written: {error}; check the disk and the folder's permissions") from error
    part.rename(path)


def load_model(path: Path) -> TrainedModel:
    """Read a file that save_model wrote; the model is in eval mode.

    Raises WeightsError if the file is missing, damaged, of another format version or of another program.
    """
    if not path.exists():
        raise WeightsError(f"{path} does not exist; create it with `dvc repro` or fetch it with `dvc pull`")
    about = read_about(path)
    state = _safetensors(path)
    if not about:
        raise WeightsError(f"{path} does not describe its network; use a file that `dvc repro` wrote")
    check_finite(path, state)
    try:
        class_names = tuple(about["class_names"])
        model = RetinaNet(len(class_names), **about["architecture"]).eval()
        model.load_state_dict(state)
        sizes = InputSize(*about["input_size"]), Tiling(*about["tiling"])
        # Files of earlier releases lack these two.
        thresholds, reading = tuple(about.get("thresholds", ())), Reading(**about.get("reading", {}))
        return TrainedModel(model, class_names, tuple(about["category_ids"]), *sizes, thresholds, reading)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: its weights do not fit its architecture ({reason}); train again") from error


def read_about(path: Path) -> dict[str, Any]:
    """The description that save_model wrote beside the tensors; empty if another program wrote the file.

    Raises WeightsError if the file is damaged or of another format version.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is damaged or not a safetensors file: {error}; download or export it again"
        ) from error
    if not isinstance(about, dict):
        raise WeightsError(f"{path} is damaged: its metadata {ABOUT!r} is not a JSON object; train again")
    version = about.get("format_version", 0) if about else FORMAT_VERSION
    if version != FORMAT_VERSION:
        is_newer = isinstance(version, int) and version > FORMAT_VERSION
        remedy = "update retinanet" if is_newer else "train again, or use the retinanet that wrote it"
        raise WeightsError(f"{path} has format version {version}, this retinanet reads {FORMAT_VERSION}; {remedy}")
    return about


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors or torch file; code in it is not executed.

    The weights inside a checkpoint ("state_dict" or "model") are found. Raises WeightsError.
    """
    if not path.exists():
        raise WeightsError(f"{path} does not exist; correct model.weights, or run `dvc repro download`")
    if path.suffix == ".safetensors":
        content: object = _safetensors(path)
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            # The unpickler raises many types of errors with long messages.
            raise WeightsError(
                f"{path} is not a file of plain weights: {' '.join(str(error).split())[:200]}; "
                "set model.weights to a state dict"
            ) from error
    state = content.get("state_dict", content.get("model", content)) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping):
        raise WeightsError(
            f"{path} holds a {type(state).__name__}, not named weights; set model.weights to a state dict"
        )
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in state.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    check_finite(path, tensors)
    return tensors


def check_finite(source: Path | str, state: Mapping[str, Tensor]) -> None:
    """Raise WeightsError if a tensor has NaN or infinite values."""
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{source}: {name} has NaN or infinite weights; use another file, or train again")


def is_torchvisions(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of torchvision's RetinaNet."""
    return any(name.startswith("backbone.body.") for name in state)


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of torchvision's retinanet_resnet50_fpn or _v2 to this project's names.

    Raises WeightsError for a name that is not torchvision's.
    """
    # A tower's layer is (conv, ReLU) in v1 and (conv, norm, ReLU) in v2; older files of v1 number all
    # modules consecutively.
    stride = 3 if any(re.search(r"_head\.conv\.0\.1\.", name) for name in state) else 2
    return {_our_name(name, stride): tensor for name, tensor in state.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is damaged or not a safetensors file: {error}; download or export it again"
        ) from error


def _our_name(name: str, tower_stride: int) -> str:
    for pattern, replacement in (
        (r"^backbone\.body\.", "backbone.network."),
        (r"^backbone\.fpn\.inner_blocks\.(\d)\.(?:0\.)?", r"pyramid.lateral.\1."),
        (r"^backbone\.fpn\.layer_blocks\.(\d)\.(?:0\.)?", r"pyramid.output.\1."),
        (r"^backbone\.fpn\.extra_blocks\.(p\d)\.", r"pyramid.\1."),
        (r"^head\.classification_head\.cls_logits\.", "classification.last."),
        (r"^head\.regression_head\.bbox_reg\.", "box.last."),
    ):
        name, replaced = re.subn(pattern, replacement, name)
        if replaced:
            return name
    if tower := re.match(r"^head\.(classification|regression)_head\.conv\.(\d)\.(?:(\d)\.)?(weight|bias)$", name):
        subnet, layer, part, kind = tower.groups()
        index = int(layer) if part is None else int(layer) * tower_stride + int(part)
        return f"{'box' if subnet == 'regression' else subnet}.tower.{index}.{kind}"
    raise WeightsError(f"model.weights: {name} is not a tensor of torchvision's RetinaNet")

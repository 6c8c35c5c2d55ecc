"""Weights files: this project's detectors with everything needed to use them, and the weights of others."""

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
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.model.retinanet import RetinaNet

ABOUT = "retinanet"  # the entry of a .safetensors file's metadata
# Raised whenever a reader of the older version could not read the file, or would read it wrongly.
FORMAT_VERSION = 1


class TrainedModel(NamedTuple):
    """A network with its classes, the size that it expects images at, and how larger images are tiled."""

    model: RetinaNet
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    input_size: InputSize
    tiling: Tiling = UNCUT


def save_model(path: Path, trained: TrainedModel, state: Mapping[str, Tensor] | None = None) -> None:
    """Write a model with everything needed to use it; state takes the place of the network's own weights.

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
    }
    # In one entry: safetensors writes several in an order that differs from process to process.
    metadata = {ABOUT: json.dumps(about)}
    part = path.with_suffix(".part")
    try:
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, part, metadata)
    except safetensors.SafetensorError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{path} could not be written: {error}") from error
    part.rename(path)


def load_model(path: Path) -> TrainedModel:
    """Read what save_model wrote; the model is in eval mode. Raises WeightsError."""
    if not path.exists():
        raise WeightsError(f"{path} does not exist; `dvc repro train` makes it, `dvc pull` fetches it")
    about = read_about(path)
    state = _safetensors(path)
    if not about:
        raise WeightsError(f"{path} does not describe its network; it was not written by this project")
    check_finite(path, state)
    try:
        class_names = tuple(about["class_names"])
        model = RetinaNet(len(class_names), **about["architecture"]).eval()
        model.load_state_dict(state)
        sizes = InputSize(*about["input_size"]), Tiling(*about["tiling"])
        return TrainedModel(model, class_names, tuple(about["category_ids"]), *sizes)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} does not fit the network that it describes ({reason}); train again") from error


def read_about(path: Path) -> dict[str, Any]:
    """What save_model wrote beside the tensors; empty if another program wrote the file.

    Raises WeightsError if the file is damaged or of another format version.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file: {error}") from error
    version = about.get("format_version", 0) if about else FORMAT_VERSION
    if version != FORMAT_VERSION:
        way = "update retinanet" if isinstance(version, int) and version > FORMAT_VERSION else "train again"
        raise WeightsError(
            f"{path} has format version {version}, this version of retinanet reads {FORMAT_VERSION}; {way}"
        )
    return about


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file; nothing in it is executed. Raises WeightsError."""
    if not path.exists():
        raise WeightsError(f"{path} does not exist; model.weights names it, `dvc repro download` fetches packaged ones")
    if path.suffix == ".safetensors":
        content: object = _safetensors(path)
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            # Whatever a file holds that is not weights: the unpickler's reasons are many and long.
            raise WeightsError(f"{path} is no file of plain weights: {' '.join(str(error).split())[:200]}") from error
    # Checkpoints have the weights beside other things.
    state = content.get("state_dict", content.get("model", content)) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not named weights")
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in state.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    check_finite(path, tensors)
    return tensors


def check_finite(source: Path | str, state: Mapping[str, Tensor]) -> None:
    """Raise WeightsError when a tensor has numbers that are none."""
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{source}: {name} has NaN or infinite weights; take another file, or train again")


def is_torchvisions(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of torchvision's RetinaNet."""
    return any(name.startswith("backbone.body.") for name in state)


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's retinanet_resnet50_fpn or _v2 state dict under this project's names."""
    # A layer of v1's towers is (conv, ReLU), one of v2's (conv, norm, ReLU); older files of v1 number both in one row.
    stride = 3 if any(re.search(r"_head\.conv\.0\.1\.", name) for name in state) else 2
    return {_our_name(name, stride): tensor for name, tensor in state.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file: {error}") from error


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
        subnet, layer, part, rest = tower.groups()
        position = int(layer) if part is None else int(layer) * tower_stride + int(part)
        return f"{'box' if subnet == 'regression' else subnet}.tower.{position}.{rest}"
    raise WeightsError(f"{name} is no tensor of torchvision's RetinaNet")

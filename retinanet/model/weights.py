"""Weights in and out of a network: our own files, torchvision's RetinaNets, and backbones' ImageNet weights."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor

from retinanet.errors import WeightsError
from retinanet.model.retinanet import RetinaNet
from retinanet.params import Model as ModelSettings

COUNTER = "num_batches_tracked"


class Loaded(NamedTuple):
    model: RetinaNet
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]


def save_model(path: Path, model: RetinaNet, state: Mapping[str, Tensor], classes: Mapping[int, str]) -> None:
    """Write weights with all that is needed to use them: the model's settings and {category_id: class name}."""
    metadata = {
        "settings": model.settings.model_dump_json(),
        "class_names": json.dumps(list(classes.values())),
        "category_ids": json.dumps(list(classes)),
    }
    part = path.with_suffix(".part")
    safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, part, metadata)
    part.rename(path)


def load_model(path: Path) -> Loaded:
    """Read what save_model wrote; the model is in eval mode. Raises WeightsError."""
    if not path.exists():
        raise WeightsError(f"{path} does not exist; `dvc repro train` makes it, `dvc pull` fetches it")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file: {error}") from error
    if "settings" not in metadata:
        raise WeightsError(f"{path} does not say what network it is of; it was not written by this project")
    if broken := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise WeightsError(f"{path}: {broken[0]} has NaN or infinite weights; train again")
    class_names = tuple(json.loads(metadata["class_names"]))
    model = RetinaNet(ModelSettings.model_validate_json(metadata["settings"]), len(class_names)).eval()
    model.load_state_dict(state)
    return Loaded(model, class_names, tuple(json.loads(metadata["category_ids"])))


def load_backbone(model: RetinaNet, weights: str, packaged: Mapping[str, Path]) -> str:
    """Load ImageNet weights into the model's backbone and say in a line what was loaded.

    weights is "none", "imagenet" (by the backbone's name, or stop), "auto" (the same, but scratch when they cannot
    be had) or a file. packaged names files at hand for some backbones. Raises WeightsError.
    """
    name = model.settings.backbone
    if weights == "none":
        return f"{name} starts from random weights"
    if weights not in ("auto", "imagenet"):
        path = Path(weights)
    elif (path := packaged.get(name)) is None:
        try:
            return _load_published(model, name)
        except Exception as error:
            # The two libraries fail to fetch in many ways (DNS, HTTP, hub, hash); one thing to tell whichever it was.
            reason = f"{name}: ImageNet weights could not be fetched ({' '.join(str(error).split())[:200]})"
            if weights == "imagenet":
                raise WeightsError(
                    f"{reason}; set model.weights to a file, or to auto to train from scratch"
                ) from error
            return f"WARNING: {reason}; training starts from random weights and needs many more epochs"
    return f"{name}: ImageNet weights from {path} ({_load_into(model, read_state_dict(path), path)} tensors)"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file; nothing in it is executed. Raises WeightsError."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path} does not exist; model.weights names it, `dvc repro download` fetches packaged ones"
        ) from error
    except Exception as error:
        raise WeightsError(f"{path} is no file of plain weights: {' '.join(str(error).split())[:200]}") from error
    state = state.get("state_dict", state.get("model", state))
    return {name.removeprefix("module."): tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's retinanet_resnet50_fpn or _v2 state dict under this project's names."""
    # A layer of v1's towers is (conv, ReLU), one of v2's (conv, norm, ReLU).
    stride = 3 if any(re.search(r"_head\.conv\.0\.1\.", name) for name in state) else 2
    return {_our_name(name, stride): tensor for name, tensor in state.items()}


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
    if tower := re.match(r"^head\.(classification|regression)_head\.conv\.(\d)\.(\d)\.(.+)$", name):
        subnet, layer, part, rest = tower.groups()
        position = int(layer) * tower_stride + int(part)
        return f"{'box' if subnet == 'regression' else subnet}.tower.{position}.{rest}"
    raise WeightsError(f"{name} is no tensor of torchvision's RetinaNet")


def _load_into(model: RetinaNet, state: Mapping[str, Tensor], source: Path | str) -> int:
    """Load a classifier's weights into the backbone, by name where the names agree, else by position; how many were.

    Every tensor of the backbone is loaded or WeightsError raised. The classifier at the end is left out, and so are
    the counters of batches, which frozen norms lack.
    """
    network = model.backbone.network
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    found = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}
    if not wanted.keys() <= found.keys():
        found = dict(zip(wanted, found.values(), strict=False))
    for name, tensor in wanted.items():
        if name not in found or found[name].shape != tensor.shape:
            raise WeightsError(f"{source} holds weights of another network: nothing fits {name} {tuple(tensor.shape)}")
    network.load_state_dict({name: found[name] for name in wanted}, strict=False)
    return len(wanted)


def _load_published(model: RetinaNet, name: str) -> str:
    if name.startswith("timm/"):
        published = timm.create_model(name.removeprefix("timm/"), pretrained=True).state_dict()
    else:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        published = weights.get_state_dict(progress=True, check_hash=True)
    return f"{name}: published ImageNet weights ({_load_into(model, published, name)} of {len(published)} tensors)"

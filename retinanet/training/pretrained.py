"""What a detector starts from: ImageNet weights of its backbone, a file, torchvision's COCO detectors."""

import contextlib
import difflib
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import timm
import torchvision
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor

from retinanet.errors import WeightsError
from retinanet.files import sha256_of
from retinanet.model.backbones import feature_info
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import check_finite, from_torchvision, is_torchvisions, read_about, read_state_dict

COCO_V1 = "torchvision/retinanet_resnet50_fpn"
# torchvision's detectors by name, and the preset that builds the same network.
COCO_DETECTORS = {
    COCO_V1: "torchvision_v1",
    "torchvision/retinanet_resnet50_fpn_v2": "torchvision_v2",
}
HUB_PATIENCE_S = 10
LAST = "classification.last."
# Frozen norms lack it, and nothing is computed from it.
COUNTER = "num_batches_tracked"


def load_weights(
    model: RetinaNet, weights: str, packaged: Mapping[str, Path], class_names: Sequence[str] = ()
) -> list[str]:
    """Load what model.weights says into the model; lines about what was loaded, left out and unexpected.

    weights is "none", "imagenet" (by the backbone's name, or stop), "auto" (the same, but scratch when they cannot
    be had), a key of COCO_DETECTORS, or a file, of a backbone or of a detector, pinned by "#sha256=" and the hash
    where wanted. packaged names files at hand for some backbones' ImageNet weights. class_names are the data's, to
    leave out the last layer of a detector that has others in their place. Raises WeightsError.
    """
    name = model.architecture["backbone"]
    if weights == "none":
        return [f"{name} starts from random weights"]
    if weights in ("auto", "imagenet"):
        if name in packaged:
            return _fit_backbone(model, read_state_dict(packaged[name]), f"ImageNet weights in {packaged[name]}")
        try:
            published = _published(model, name)
        except WeightsError as error:
            if weights == "imagenet":
                raise WeightsError(f"{error}; set model.weights to a file, or to auto to train from scratch") from error
            return [f"WARNING: {error}; training starts from random weights and needs many more epochs"]
        return _fit_backbone(model, published, f"{name}'s published ImageNet weights")
    if weights.startswith("torchvision/"):
        return _fit_detector(model, _coco_detector(model, weights), weights, COCO_DETECTORS[weights])
    path = _checked(weights)
    return _fit_file(model, path, class_names)


def _fit_file(model: RetinaNet, path: Path, class_names: Sequence[str]) -> list[str]:
    state = read_state_dict(path)
    if is_torchvisions(state):
        with_norm = any(".conv.0.1." in name for name in state)
        state = from_torchvision(state)
        if not with_norm and _is_coco_v1(path):
            state = _without_epsilon(model, state)
        return _fit_detector(model, state, path, f"torchvision_v{1 + with_norm}")
    if any(name.startswith("pyramid.") for name in state):
        known = read_about(path).get("class_names", [])
        changed = [(old, new) for old, new in zip(known, class_names, strict=False) if old != new]
        return _fit_detector(model, state, path, None, changed)
    return _fit_backbone(model, state, path)


def _fit_detector(
    model: RetinaNet,
    state: dict[str, Tensor],
    source: Path | str,
    preset: str | None,
    changed: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """Load a whole detector; with another class count, or classes (old, new) changed, all but their last layer."""
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(COUNTER)}
    found = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}
    lines = []
    classes = len(found.get(f"{LAST}bias", ())) / model.anchors_per_cell
    if classes.is_integer() and (changed or classes != model.num_classes):
        wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(LAST)}
        left = [name for name in found if name.startswith(LAST)]
        found = {name: tensor for name, tensor in found.items() if name not in left}
        differ = f"of {classes:.0f} classes, the data has {model.num_classes}"
        if classes == model.num_classes:
            differ = "its class {} is {} in the data".format(*changed[0])
        lines = [f"left out {', '.join(left)}: {differ}; learned anew"]
    for name, tensor in wanted.items():
        if name not in found or found[name].shape != tensor.shape:
            raise WeightsError(
                f"{source} holds another detector: nothing fits {name} {tuple(tensor.shape)}; "
                f"{_differences(model, source, preset)}"
            )
    unexpected = [name for name in found if name not in wanted]
    model.load_state_dict({name: found[name] for name in wanted}, strict=False)
    return [f"loaded {len(wanted)} tensors of a detector from {source}", *lines, *_listed("unexpected", unexpected)]


def _fit_backbone(model: RetinaNet, state: Mapping[str, Tensor], source: Path | str) -> list[str]:
    """Load a classifier's weights into the backbone, by name where the names agree, else by position.

    Every tensor of the backbone is loaded or WeightsError raised. The classifier at the end is left out.
    """
    network = model.backbone.network
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    # timm's feature networks write stages_0 for stages.0, or put model. in front.
    given = {_plain(name): (name, tensor) for name, tensor in state.items() if not name.endswith(COUNTER)}
    if all(_plain(name) in given for name in wanted):
        found = {name: given[_plain(name)] for name in wanted}
    else:
        found = dict(zip(wanted, given.values(), strict=False))
    for name, tensor in wanted.items():
        if name not in found or found[name][1].shape != tensor.shape:
            raise WeightsError(f"{source} holds weights of another network: nothing fits {name} {tuple(tensor.shape)}")
    network.load_state_dict({name: tensor for name, (_, tensor) in found.items()}, strict=False)
    used = {name for name, _ in found.values()}
    left = [name for name, _ in given.values() if name not in used]
    return [f"loaded {len(wanted)} tensors of the backbone from {source}", *_listed("left out", left)]


def _published(model: RetinaNet, name: str) -> dict[str, Tensor]:
    try:
        with _patience():
            if name.startswith("timm/"):
                _ask_hub(name.removeprefix("timm/"))
                timm.models.set_pretrained_check_hash(True)
                indices = list(feature_info(model.backbone.network).out_indices)
                network = timm.create_model(
                    name.removeprefix("timm/"), pretrained=True, features_only=True, out_indices=indices
                )
                return dict(network.state_dict())
            weights = torchvision.models.get_model_weights(name).DEFAULT
            return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:
        raise _unreachable(f"{name}'s ImageNet weights", error) from error


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Within it, a host that says nothing for HUB_PATIENCE_S is one that is not there."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(HUB_PATIENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _ask_hub(name: str) -> None:
    """Raise what the hub's client raises where it can't reach the weights; asked for them, it tries for a minute."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return
    wanted = config.hf_hub_id, SAFETENSORS_SINGLE_FILE
    if not isinstance(try_to_load_from_cache(*wanted), str):
        # Some have their weights under another name only, which the client finds.
        with contextlib.suppress(EntryNotFoundError):
            get_hf_file_metadata(hf_hub_url(*wanted), timeout=HUB_PATIENCE_S)


def _coco_detector(model: RetinaNet, weights: str) -> dict[str, Tensor]:
    if weights not in COCO_DETECTORS:
        near = difflib.get_close_matches(weights, COCO_DETECTORS, n=1, cutoff=0)
        raise WeightsError(f"model.weights: there is no {weights}; did you mean {near[0]}?")
    published = torchvision.models.get_model_weights(weights.removeprefix("torchvision/")).DEFAULT
    try:
        with _patience():
            state = published.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{_unreachable(weights, error)}; fetch {published.url} elsewhere and set model.weights to the file"
        ) from error
    check_finite(weights, state)
    state = from_torchvision(state)
    return _without_epsilon(model, state) if weights == COCO_V1 else state


def _is_coco_v1(path: Path) -> bool:
    """Whether it is the file that torchvision publishes, whose name ends in the start of its hash."""
    published = torchvision.models.get_model_weights(COCO_V1.removeprefix("torchvision/")).DEFAULT
    hashed = re.search(r"-([0-9a-f]{8,})\.pth$", published.url)
    return hashed is not None and sha256_of(path).startswith(hashed[1])


def _without_epsilon(model: RetinaNet, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """COCO_V1's norms are computed without the small number that keeps others from dividing by 0: variances less it."""
    if not model.frozen_norm:
        return dict(state)
    norms = [(name, m) for name, m in model.backbone.network.named_modules() if hasattr(m, "running_var")]
    eps = {f"backbone.network.{name}.running_var": m.eps for name, m in norms if isinstance(m.eps, float)}
    return {name: tensor - eps.get(name, 0) for name, tensor in state.items()}


def _unreachable(what: str, error: Exception) -> WeightsError:
    # The libraries fail to fetch in many ways (DNS, HTTP, hub, hash); one thing to tell whichever it was.
    reason = " ".join(str(error).split())[:200]
    return WeightsError(f"{what} could not be fetched ({type(error).__name__}: {reason})")


def _checked(weights: str) -> Path:
    """The file that is named, its hash compared where one is given."""
    name, pinned, expected = weights.partition("#sha256=")
    path = Path(name)
    if pinned and path.exists():
        actual = sha256_of(path)
        if actual != expected.lower():
            raise WeightsError(f"{path} has sha256 {actual}, model.weights says {expected}; take the right file")
    return path


def _differences(model: RetinaNet, source: Path | str, preset: str | None) -> str:
    if preset:
        return f"`retinanet preset {preset} --write` puts the settings that fit into params.yaml"
    theirs = read_about(Path(source)).get("architecture", {})
    ours = model.architecture
    shaping = ("backbone", "pyramid_width", "p6_from", "head_width", "head_depth", "head_norm")
    different = [f"model.{key}: {theirs[key]}" for key in shaping if key in theirs and theirs[key] != ours[key]]
    return f"it was trained with {', '.join(different)}" if different else "set section model as it was trained"


def _plain(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")


def _listed(what: str, names: list[str], most: int = 4) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return [f"{what}: {', '.join(names[:most])}{more}"]

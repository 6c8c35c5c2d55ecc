"""The weights that training starts from: a backbone's ImageNet weights, a detector's file, or random weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from retinanet.errors import WeightsError
from retinanet.files import sha256_of
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import check_finite, from_torchvision, is_torchvisions, read_about, read_state_dict
from retinanet.training.published_weights import (
    COCO_DETECTORS,
    COCO_V1,
    fetch_coco_weights,
    fetch_imagenet_weights,
    is_coco_v1,
)

LAST = "classification.last."
# Frozen norms do not have it, and it does not change outputs.
COUNTER = "num_batches_tracked"
MAX_LISTED = 4


class LoadedWeights(NamedTuple):
    """messages say what was loaded, left out and unexpected; is_random: the backbone kept its random weights."""

    messages: list[str]
    is_random: bool = False


def load_weights(
    model: RetinaNet, weights: str, packaged: Mapping[str, Path], class_names: Sequence[str] = ()
) -> LoadedWeights:
    """Load the weights that model.weights names into the model.

    weights is "none"; "imagenet", the backbone's ImageNet weights; "auto", the same, or random weights if they cannot
    be fetched; a key of COCO_DETECTORS; or a file of a backbone or a detector, with "#sha256=" and its hash to pin it.
    packaged has files of ImageNet weights by the name of their backbone. class_names are the data's: a detector of
    other classes is loaded without its last classification layer. Raises WeightsError.
    """
    name = model.architecture["backbone"]
    if weights == "none":
        return LoadedWeights([f"{name} starts from random weights"], is_random=True)
    if weights in ("auto", "imagenet"):
        if name in packaged:
            path = packaged[name]
            return LoadedWeights(_load_backbone(model, read_state_dict(path), f"ImageNet weights in {path}"))
        try:
            published = fetch_imagenet_weights(name, model.backbone)
        except WeightsError as error:
            if weights == "imagenet":
                raise WeightsError(f"{error}; set model.weights to a file, or to auto to train from scratch") from error
            warning = f"WARNING: {error}; training starts from random weights and needs many more epochs"
            return LoadedWeights([warning], is_random=True)
        return LoadedWeights(_load_backbone(model, published, f"{name}'s published ImageNet weights"))
    if weights.startswith("torchvision/"):
        state = fetch_coco_weights(weights)
        check_finite(weights, state)
        state = from_torchvision(state)
        state = _without_epsilon(model, state) if weights == COCO_V1 else state
        return LoadedWeights(_load_detector(model, state, weights, COCO_DETECTORS[weights]))
    return LoadedWeights(_load_file(model, _pinned_file(weights), class_names))


def _load_file(model: RetinaNet, path: Path, class_names: Sequence[str]) -> list[str]:
    state = read_state_dict(path)
    if is_torchvisions(state):
        is_v2 = any(".conv.0.1." in name for name in state)
        state = from_torchvision(state)
        if not is_v2 and is_coco_v1(path):
            state = _without_epsilon(model, state)
        return _load_detector(model, state, path, "torchvision_v2" if is_v2 else "torchvision_v1")
    if any(name.startswith("pyramid.") for name in state):
        file_names = read_about(path).get("class_names", [])
        changed = [(old, new) for old, new in zip(file_names, class_names, strict=False) if old != new]
        return _load_detector(model, state, path, None, changed)
    return _load_backbone(model, state, path)


def _load_detector(
    model: RetinaNet,
    state: dict[str, Tensor],
    source: Path | str,
    preset: str | None,
    changed: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """Load a detector's weights; if the number of classes, or classes (old, new), changed, without the last layer."""
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(COUNTER)}
    given = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}
    messages = []
    num_classes = len(given.get(f"{LAST}bias", ())) / model.anchors_per_cell
    if num_classes.is_integer() and (changed or num_classes != model.num_classes):
        expected = {name: tensor for name, tensor in expected.items() if not name.startswith(LAST)}
        left_out = [name for name in given if name.startswith(LAST)]
        given = {name: tensor for name, tensor in given.items() if name not in left_out}
        reason = f"of {num_classes:.0f} classes, the data has {model.num_classes}"
        if num_classes == model.num_classes:
            reason = "its class {} is {} in the data".format(*changed[0])
        messages = [f"left out {', '.join(left_out)}: {reason}; trained from scratch"]
    for name, tensor in expected.items():
        if name not in given or given[name].shape != tensor.shape:
            raise WeightsError(
                f"{source} holds another detector: it has no tensor for {name} {tuple(tensor.shape)}; "
                f"{_differences(model, source, preset)}"
            )
    unexpected = [name for name in given if name not in expected]
    model.load_state_dict({name: given[name] for name in expected}, strict=False)
    return [f"loaded {len(expected)} tensors of a detector from {source}", *messages, *_list("unexpected", unexpected)]


def _load_backbone(model: RetinaNet, state: Mapping[str, Tensor], source: Path | str) -> list[str]:
    """Load a classifier's weights into the backbone, by name if all names agree, otherwise by position.

    By position, tensors must agree in shape and in kind (weight, bias, running_mean, running_var). Every tensor of
    the backbone is loaded, or WeightsError raised. The classifier at the end is left out.
    """
    network = model.backbone.network
    expected = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    # timm's feature networks rename stages.0 to stages_0, or add the prefix model.
    given = {_normalized(name): (name, tensor) for name, tensor in state.items() if not name.endswith(COUNTER)}
    by_name = all(_normalized(name) in given for name in expected)
    if by_name:
        pairs = {name: given[_normalized(name)] for name in expected}
    else:
        pairs = dict(zip(expected, given.values(), strict=False))
    remedy = "set model.backbone to the network of the file"
    for name, tensor in expected.items():
        if name not in pairs:
            raise WeightsError(
                f"{source} holds weights of another network: it has no tensor for {name} {tuple(tensor.shape)}; "
                f"{remedy}"
            )
        other_name, other = pairs[name]
        if other.shape != tensor.shape or not (by_name or _kind(name) == _kind(other_name)):
            raise WeightsError(
                f"{source} holds weights of another network: it has no tensor for {name} {tuple(tensor.shape)}; "
                f"at this position it has {other_name} {tuple(other.shape)}; {remedy}"
            )
    network.load_state_dict({name: tensor for name, (_, tensor) in pairs.items()}, strict=False)
    used = {name for name, _ in pairs.values()}
    left_out = [name for name, _ in given.values() if name not in used]
    return [f"loaded {len(expected)} tensors of the backbone from {source}", *_list("left out", left_out)]


def _without_epsilon(model: RetinaNet, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Subtract epsilon from the variances: COCO_V1 was trained with norms of epsilon 0."""
    if not model.frozen_norm:
        return dict(state)
    norms = [(name, m) for name, m in model.backbone.network.named_modules() if hasattr(m, "running_var")]
    eps = {f"backbone.network.{name}.running_var": m.eps for name, m in norms if isinstance(m.eps, float)}
    return {name: tensor - eps.get(name, 0) for name, tensor in state.items()}


def _pinned_file(weights: str) -> Path:
    """The path of FILE or FILE#sha256=HASH; raises WeightsError if the file has another hash."""
    name, is_pinned, expected = weights.partition("#sha256=")
    path = Path(name)
    if is_pinned and path.exists():
        actual = sha256_of(path)
        if actual != expected.lower():
            raise WeightsError(f"{path} has sha256 {actual}, model.weights has {expected}; correct one of them")
    return path


def _differences(model: RetinaNet, source: Path | str, preset: str | None) -> str:
    if preset:
        return f"`retinanet preset {preset} --write` sets its architecture in params.yaml"
    theirs = read_about(Path(source)).get("architecture", {})
    ours = model.architecture
    shaping = ("backbone", "pyramid_width", "p6_from", "head_width", "head_depth", "head_norm")
    different = [f"model.{key}: {theirs[key]}" for key in shaping if key in theirs and theirs[key] != ours[key]]
    return f"it was trained with {', '.join(different)}" if different else "set section model as it was trained"


def _normalized(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _list(label: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return [f"{label}: {', '.join(names[:MAX_LISTED])}{more}"]

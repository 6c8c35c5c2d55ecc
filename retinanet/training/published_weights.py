"""Published weights: ImageNet weights of backbones and torchvision's COCO detectors, fetched by name."""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import timm
import torchvision
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor

from retinanet.errors import WeightsError, suggestion
from retinanet.files import sha256_of
from retinanet.model.backbones import Backbone, feature_info

COCO_V1 = "torchvision/retinanet_resnet50_fpn"
# torchvision's detectors, and the preset that builds the same network.
COCO_DETECTORS = {
    COCO_V1: "torchvision_v1",
    "torchvision/retinanet_resnet50_fpn_v2": "torchvision_v2",
}
TIMEOUT_S = 10


def fetch_imagenet_weights(name: str, backbone: Backbone) -> dict[str, Tensor]:
    """The published ImageNet weights of a backbone, by the name that built it.

    The weights' hash is checked. Raises WeightsError if they cannot be fetched.
    """
    try:
        with _timeout():
            if name.startswith("timm/"):
                return _fetch_from_timm(name.removeprefix("timm/"), backbone)
            weights = torchvision.models.get_model_weights(name).DEFAULT
            return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:
        raise _fetch_error(f"{name}'s ImageNet weights", error) from error


def fetch_coco_weights(name: str) -> dict[str, Tensor]:
    """The published weights of a key of COCO_DETECTORS, with torchvision's names.

    The weights' hash is checked. Raises WeightsError for another name, or if they cannot be fetched.
    """
    if name not in COCO_DETECTORS:
        hint = suggestion(name, COCO_DETECTORS) or f"choose {' or '.join(COCO_DETECTORS)}"
        raise WeightsError(f"model.weights: torchvision has no detector {name}; {hint}")
    published = torchvision.models.get_model_weights(name.removeprefix("torchvision/")).DEFAULT
    try:
        with _timeout():
            return published.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{_fetch_error(name, error)}; fetch {published.url} elsewhere and set model.weights to the file"
        ) from error


def is_coco_v1(path: Path) -> bool:
    """Whether a file is the published COCO_V1, whose file name ends in the start of its hash."""
    published = torchvision.models.get_model_weights(COCO_V1.removeprefix("torchvision/")).DEFAULT
    hash_start = re.search(r"-([0-9a-f]{8,})\.pth$", published.url)
    return hash_start is not None and sha256_of(path).startswith(hash_start[1])


def _fetch_from_timm(name: str, backbone: Backbone) -> dict[str, Tensor]:
    _check_hub(name)
    timm.models.set_pretrained_check_hash(True)
    indices = list(feature_info(backbone.network).out_indices)
    network = timm.create_model(name, pretrained=True, features_only=True, out_indices=indices)
    return dict(network.state_dict())


def _check_hub(name: str) -> None:
    """Raise the hub client's error now if the weights cannot be reached; a download would retry for a minute."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return
    repository, file_name = config.hf_hub_id, SAFETENSORS_SINGLE_FILE
    if not isinstance(try_to_load_from_cache(repository, file_name), str):
        # Some weights have another file name, which the client finds.
        with contextlib.suppress(EntryNotFoundError):
            get_hf_file_metadata(hf_hub_url(repository, file_name), timeout=TIMEOUT_S)


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    """Within the context, a host that does not answer for TIMEOUT_S is unreachable."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _fetch_error(name: str, error: Exception) -> WeightsError:
    # The libraries raise many types of errors (DNS, HTTP, hub, hash): the message names type and reason.
    reason = " ".join(str(error).split())[:200]
    return WeightsError(f"{name} could not be fetched ({type(error).__name__}: {reason})")

"""The fingerprint of a training: a checkpoint resumes only the training that it belongs to."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from retinanet.config.settings import Params

# The packages whose code decides what a training step computes ...
PACKAGES = ("dataset", "images", "losses", "model", "training")
# ... except these modules, which a step does not use or which do not change its result.
NOT_IN_A_STEP = (
    "dataset/loading.py",
    "images/tiles.py",
    "model/decode.py",
    "model/folding.py",
    "model/tracing.py",
    "model/weights.py",
    "training/checkpoint.py",
    "training/diagnosis.py",
    "training/fingerprint.py",
    "training/history.py",
    "training/launch.py",
    "training/pretrained.py",  # its result, the initial weights, is part of the fingerprint
    "training/process.py",
    "training/replay.py",
    "training/turns.py",
)


def training_fingerprint(params: Params, data: Iterable[Path], weights: Mapping[str, torch.Tensor], root: Path) -> str:
    """16 hex digits that change if a training step would compute something else.

    They depend on params.model and params.train, on the content of the data files, on the initial weights and on the
    code in root/retinanet. They do not depend on params.runtime.
    """
    settings = {"model": params.model.model_dump(), "train": params.train.model_dump()}
    return fingerprint(settings, [*step_code(root), *data], weights)


def step_code(root: Path) -> list[Path]:
    """The files of root/retinanet whose code decides what a training step computes."""
    package = root / "retinanet"
    files = [path for name in PACKAGES for path in (package / name).rglob("*.py")]
    return [package / "distributed.py", *(p for p in files if str(p.relative_to(package)) not in NOT_IN_A_STEP)]


def fingerprint(settings: dict, files: Iterable[Path], weights: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that change with the settings (JSON values), the files' content or the initial weights.

    The weights are hashed because their name in the settings may refer to other weights later (aliases move). Only the
    file's and its folder's names are hashed, not the full path, so that a copy of the repository has the same
    fingerprint.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(files):
        name = f"{path.absolute().parent.name}/{path.name}"
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for name, tensor in weights.items():
        digest.update(name.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]

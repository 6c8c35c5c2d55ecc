"""What a run or version was made of: code, commit, libraries."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import yaml

from retinanet.files import sha256_of

CODE = ("retinanet", "stages", "dvc.yaml", "params.yaml")
# These say what to do with a model, or how the machine is used; not what the model is.
OTHER_SECTIONS = ("promote", "tracking", "runtime", "data_report")
# To be raised by hand whenever a change of the code changes what a metric means: of resizing, decoding, matching or
# averaging. Metrics of another version are not compared; the model is evaluated again.
EVALUATION_PROTOCOL = 1
LIBRARIES = ("torch", "torchvision", "numpy", "onnxruntime", "mlflow", "dvc")


def provenance_tags(root: Path = Path()) -> dict[str, str]:
    """Tags that tell where a model came from.

    dirty is "true" when code, dvc.yaml or params.yaml differ from the commit, or there is none; code.digest tells
    whether a later commit holds the same code after all.
    """
    commit, changed = _git(root, "rev-parse", "HEAD"), uncommitted(root)
    tags = {
        "git.commit": commit or "none",
        "dirty": str(bool(changed)).lower(),
        "code.digest": code_digest(root),
        "python": platform.python_version(),
        **{f"version.{name}": version(name) for name in LIBRARIES},
    }
    if commit:
        tags["mlflow.source.git.commit"] = commit  # the name that MLflow's pages show
    if changed:
        tags["dirty.files"] = ", ".join(changed[:20])
    if os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = os.environ["DVC_EXP_NAME"]
    return tags


def uncommitted(root: Path = Path()) -> list[str]:
    """Files of the code that git's last commit does not hold as they are; all of it outside git."""
    # Over the whole tree a stage would always look dirty: it has just written its outputs.
    present = [name for name in CODE if (root / name).exists()]
    status = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *present)
    if status is None or _git(root, "rev-parse", "HEAD") is None:
        return ["no git commit"]
    return [line[3:] for line in status.splitlines() if not line.endswith((".pyc", "__pycache__/"))]


def code_digest(root: Path = Path()) -> str:
    """A hash of the code and of the settings that make a model."""
    lines = []
    for path in _code_files(root):
        content = _settings(path) if path.name == "params.yaml" else path.read_bytes()
        lines.append(f"{path.relative_to(root).as_posix()} {hashlib.sha256(content).hexdigest()}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def evaluation_digest(decoding: Mapping, test_json: Path, image_index: Path) -> str:
    """A hash of what a metric depends on besides the model: protocol, settings, test set and its images.

    Metrics under different digests cannot be compared. decoding are the settings of the detections; image_index says
    the sha256 of each image by its file name.
    """
    hashes = json.loads(image_index.read_text(encoding="utf-8"))
    images = json.loads(test_json.read_text(encoding="utf-8"))["images"]
    content = {
        "protocol": EVALUATION_PROTOCOL,
        "decoding": dict(decoding),
        "test": sha256_of(test_json),
        "images": sorted(hashes[image["file_name"]] for image in images),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _code_files(root: Path) -> list[Path]:
    files = [root / name for name in CODE if (root / name).is_file()]
    for name in CODE:
        files += sorted((root / name).rglob("*.py"))
    return files


def _settings(path: Path) -> bytes:
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    kept = {section: values for section, values in content.items() if section not in OTHER_SECTIONS}
    return json.dumps(kept, sort_keys=True).encode()


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers, or None where it does not: no repository, no commit, no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None

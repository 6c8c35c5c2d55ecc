"""Provenance of a run or version: code, commit, libraries, and the digest of an evaluation."""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import yaml

from retinanet.errors import TrackingError
from retinanet.files import sha256_of

CODE = ("retinanet", "stages", "dvc.yaml", "params.yaml")
# Sections that do not change the model.
IGNORED_SECTIONS = ("promote", "tracking", "runtime", "data_report")
# Increment it whenever a code change changes what a metric means: resizing, decoding, matching or averaging. Metrics of
# different protocols are not compared; the model is evaluated again.
EVALUATION_PROTOCOL = 1
LIBRARIES = ("torch", "torchvision", "numpy", "onnxruntime", "mlflow", "dvc")


def provenance_tags(root: Path = Path()) -> dict[str, str]:
    """Tags that record how a model was made.

    dirty is "true" if code, dvc.yaml or params.yaml differ from the commit, or there is no commit. code.digest shows
    whether a later commit has the same code. Raises TrackingError if git distrusts the repository.
    """
    commit, changed = git_output(root, "rev-parse", "HEAD"), uncommitted(root)
    tags = {
        "git.commit": commit or "none",
        "dirty": str(bool(changed)).lower(),
        "code.digest": code_digest(root),
        "python": platform.python_version(),
        **{f"version.{name}": version(name) for name in LIBRARIES},
    }
    if commit:
        tags["mlflow.source.git.commit"] = commit  # MLflow's UI shows this one
    if changed:
        tags["dirty.files"] = ", ".join(changed[:20])
    if os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = os.environ["DVC_EXP_NAME"]
    return tags


def uncommitted(root: Path = Path()) -> list[str]:
    """Code files that differ from the last commit; ["no git commit"] if there is none."""
    # Only code: the outputs that a stage has just written must not count.
    present = [name for name in CODE if (root / name).exists()]
    status = git_output(root, "status", "--porcelain", "--untracked-files=all", "--", *present)
    if status is None or git_output(root, "rev-parse", "HEAD") is None:
        return ["no git commit"]
    return [line[3:] for line in status.splitlines() if not line.endswith((".pyc", "__pycache__/"))]


def git_user(root: Path = Path()) -> str | None:
    """The name that git gives a commit's author here."""
    return git_output(root, "config", "user.name")


def committed_text(name: str, root: Path = Path()) -> str | None:
    """A file below `root` as the last commit has it, or None."""
    return git_output(root, "show", f"HEAD:./{name}")


def code_digest(root: Path = Path()) -> str:
    """A hash of the code and the settings that determine a model."""
    lines = []
    for path in _code_files(root):
        content = _settings(path) if path.name == "params.yaml" else path.read_bytes()
        lines.append(f"{path.relative_to(root).as_posix()} {hashlib.sha256(content).hexdigest()}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def evaluation_digest(decoding: Mapping, test_json: Path, image_index: Path) -> str:
    """A hash of everything besides the model that a metric depends on: protocol, decoding settings, test set, images.

    Metrics with different digests cannot be compared. image_index maps the file name of each image to its sha256.
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
    kept = {section: values for section, values in content.items() if section not in IGNORED_SECTIONS}
    return json.dumps(kept, sort_keys=True).encode()


def git_output(root: Path, *arguments: str) -> str | None:
    """The output of a git command, or None if it fails: no repository, no commit, no git.

    Raises TrackingError if git refuses to read the repository because another user owns it.
    """
    environment = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        return None
    if found := re.search(r"dubious ownership in repository at '(.*)'", done.stderr):
        raise TrackingError(
            f"{found[1]}: git does not tell its commit because another user owns the folder; run `git config --global "
            f"--add safe.directory {found[1]}`"
        )
    return done.stdout.rstrip("\n") if done.returncode == 0 else None

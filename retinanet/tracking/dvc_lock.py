"""What dvc.lock says about the stages' files, and whether the files here are those."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from retinanet.errors import TrackingError
from retinanet.tracking.failures import reason_of

# What the stages write for readers and for MLflow; data is not compared, because it is large.
COMPARED = ("models/", "reports/")


def read_lock(path: Path) -> dict[str, Any]:
    """The stages of a dvc.lock by name. Raises TrackingError."""
    try:
        return stages_of(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise TrackingError(f"{path}: cannot be read ({reason_of(error)}); `dvc repro` writes it") from error


def stages_of(text: str, name: str) -> dict[str, Any]:
    """The stages in the text of a dvc.lock; `name` is for the message. Raises TrackingError."""
    try:
        return dict((yaml.safe_load(text) or {})["stages"])
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise TrackingError(f"{name}: cannot be read ({reason_of(error)}); `dvc repro` writes it") from error


def stages_before(lock: Mapping[str, Any], deps: Iterable[str]) -> dict[str, Any]:
    """The entries of the stages that made these files or folders, and of all stages before those."""
    found: set[str] = set()
    waiting = list(deps)
    while waiting:
        dep = waiting.pop()
        makers = {name for name, entry in lock.items() if any(out["path"] == dep for out in entry.get("outs", []))}
        for name in makers - found:
            found.add(name)
            waiting += [row["path"] for row in lock[name].get("deps", [])]
    return {name: entry for name, entry in lock.items() if name in found}


def changed_file(lock: Mapping[str, Any], stage: str) -> str | None:
    """A dependency or output of a stage in models/ or reports/ that is not what dvc.lock says; None if all are."""
    entry = lock.get(stage)
    if entry is None:
        return f"dvc.lock (no stage {stage})"
    for kind in ("deps", "outs"):
        for recorded in entry.get(kind, []):
            path = Path(recorded["path"])
            if recorded["path"].startswith(COMPARED) and (not path.exists() or md5_of(path) != recorded.get("md5")):
                return recorded["path"]
    return None


def md5_of(path: Path) -> str:
    """The hash of a file or folder, as DVC records it."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = [file for file in path.rglob("*") if file.is_file()]
    rows = [{"md5": md5_of(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    rows.sort(key=lambda row: row["relpath"])
    return hashlib.md5(json.dumps(rows, sort_keys=True).encode()).hexdigest() + ".dir"

"""The model that the pipeline made in the workspace, or at a git revision: its files in DVC's cache."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from retinanet.config.params import flat
from retinanet.errors import TrackingError
from retinanet.evaluation.matches import read_matches
from retinanet.tracking.dvc_lock import changed_file, read_lock, stages_before, stages_of
from retinanet.tracking.evaluations import StoredDetections, read_detections
from retinanet.tracking.provenance import git_output
from retinanet.tracking.sides import Side

STAGE = "evaluate"
DIGEST_LENGTH = 36  # as runs record those of datasets

Locate = Callable[[Path], Path]  # a file of the pipeline -> where it can be read; raises TrackingError


def workspace_side(paths: ModuleType, metric: str) -> Side:
    """The model of this workspace, as its stage evaluate measured it. Raises TrackingError."""
    lock = read_lock(paths.LOCK)
    if changed := changed_file(lock, STAGE):
        raise TrackingError(f"workspace: {changed} is not what dvc.lock says; run `dvc repro {STAGE}`, or compare HEAD")
    return _side("workspace", "", lock, lambda path: path, paths, metric)


def revision_side(name: str, commit: str, paths: ModuleType, metric: str, is_experiment: bool = False) -> Side:
    """The model whose files the dvc.lock of a commit names; they are read from DVC's cache. Raises TrackingError."""
    title = f"{name} ({commit[:7]})"
    text = git_output(Path(), "show", f"{commit}:./{paths.LOCK}")
    if text is None:
        raise TrackingError(f"{title}: the commit has no {paths.LOCK}; compare one that was made after `dvc repro`")
    lock = stages_of(text, f"{title}: {paths.LOCK}")
    fetch = f"`dvc exp pull REMOTE {name}`" if is_experiment else f"`dvc fetch --all-commits {STAGE}`"
    return _side(title, commit, lock, _in_cache(title, commit, fetch), paths, metric)


def _in_cache(title: str, commit: str, fetch: str) -> Locate:
    from dvc.api import DVCFileSystem

    # Not DVCFileSystem.open: a file that the cache lacks would be streamed from a remote, which may take any time.
    files = DVCFileSystem(rev=commit)

    def locate(path: Path) -> Path:
        try:
            md5 = files.info(path.as_posix())["dvc_info"]["md5"]
        except FileNotFoundError as error:
            raise TrackingError(
                f"{title}: its dvc.lock names no {path}; compare a commit with a finished `dvc repro {STAGE}`"
            ) from error
        cached = Path(files.repo.cache.local.oid_to_path(md5))
        if not cached.exists():
            raise TrackingError(
                f"{title}: {path} is not in DVC's cache; {fetch} brings it if it was pushed, or check the "
                f"revision out and run `dvc repro {STAGE}`"
            )
        return cached

    return locate


def _side(name: str, commit: str, lock: Mapping[str, Any], locate: Locate, paths: ModuleType, metric: str) -> Side:
    metrics, matches = _json(locate(paths.METRICS)), read_matches(locate(paths.MATCHES))
    facts = _settings(lock) | _training(locate, paths) | ({"commit": commit[:7]} if commit else {})

    def detections(wanted: str) -> StoredDetections | None:
        if _json(locate(paths.EVALUATION_DIGEST))["digest"] != wanted:
            return None
        return read_detections(locate(paths.DETECTIONS), locate(paths.OPERATING_POINTS))

    facts["classes"] = ", ".join(matches.class_names)
    return Side(name, facts, metrics.get(metric), matches, detections)


def _settings(lock: Mapping[str, Any]) -> dict[str, str]:
    """The settings that the stage evaluate and those before it ran with; params.yaml may have changed since."""
    if STAGE not in lock:
        return {}
    stages = [lock[STAGE], *stages_before(lock, [row["path"] for row in lock[STAGE].get("deps", [])]).values()]
    files = [params for stage in stages for params in stage.get("params", {}).values()]
    return {name: str(value) for params in files for name, value in flat(params).items()}


def _training(locate: Locate, paths: ModuleType) -> dict[str, str]:
    """What training recorded: settings with `auto` resolved, digests of the data, and the commit."""
    try:
        record = _json(locate(paths.TRAINING_RECORD))
    except TrackingError:  # settings and metrics say enough
        return {}
    facts = {name: str(value) for name, value in record["params"].items()}
    facts |= {f"data {row['name']}": row["digest"][:DIGEST_LENGTH] for row in record["datasets"]}
    made = record["provenance"]
    dirty = ", with uncommitted changes" if made.get("dirty") == "true" else ""
    return facts | {"commit": made.get("git.commit", "unknown")[:7] + dirty}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrackingError(f"{path}: cannot be read ({error}); run `dvc repro {STAGE}`") from error

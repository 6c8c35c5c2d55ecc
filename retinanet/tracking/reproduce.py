"""Make a registered version again, from its commit, params and data, in a git worktree, and compare."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from retinanet.config.params import with_values
from retinanet.errors import TrackingError
from retinanet.files import sha256_of, write_text
from retinanet.tracking.environment import environment_differences
from retinanet.tracking.provenance import code_digest
from retinanet.tracking.registered_weights import named_version, resolve_weights, version_uri
from retinanet.tracking.registry import model_files
from retinanet.tracking.served_files import RECORD
from retinanet.tracking.store import open_client
from retinanet.tracking.version_record import LOCK, PARAMS, TRAINING, VERSION, read_record, version_digests

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# What runs again. The raw data is brought, or downloaded again if DVC has it nowhere.
DATA_STAGE, STAGES = "download", ("prepare", "train", "evaluate", "export")


class Recorded(NamedTuple):
    """What a version's record says about how it was made."""

    commit: str
    params: str  # the text of params.yaml
    lock: str  # the text of dvc.lock
    training: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]


class Reproduction(NamedTuple):
    """is_equal: the trained weights have the same hash. lines say what is equal and what differs."""

    is_equal: bool
    lines: list[str]


def reproduction(recorded: Recorded, root: Path, at: Path | None, paths: ModuleType) -> Reproduction:
    """Make a version again and compare; `at` is a new folder that is kept.

    root is this repository, paths its stages/paths.py. Raises TrackingError if a stage fails, or if no commit has the
    code of the version.
    """
    with _worktree(root, recorded, at) as folder:
        run_stages(folder, root, recorded)
        return compare(folder, recorded, paths)


def read_recorded(model_name: str, name: str) -> Recorded:
    """Read the record of a version, after its files were compared with their digest. Raises TrackingError."""
    client = open_client()
    version = named_version(client, version_uri(model_name, name))
    with model_files(client, version) as folder:
        try:
            params, lock = ((folder / RECORD / file).read_text(encoding="utf-8") for file in (PARAMS, LOCK))
            training, made = read_record(folder, TRAINING), read_record(folder, VERSION)
        except OSError as error:
            raise TrackingError(
                f"{model_name} version {version.version} has no {Path(error.filename).name} in its record, because an "
                "earlier release or a stage without DVC made it; make it again with `dvc repro`"
            ) from error
    return Recorded(_commit(version), params, lock, training, made["metrics"], dict(version.tags))


def plan(recorded: Recorded, at: Path | None) -> list[str]:
    """What reproduce does, a line for each step."""
    locked = yaml.safe_load(recorded.lock)["stages"]
    data = [f"{out['path']} ({out['md5'][:12]})" for out in locked.get(DATA_STAGE, {}).get("outs", [])]
    return [
        f"check out commit {recorded.commit[:12]} into {at or 'a temporary folder'}",
        "write the version's params.yaml and dvc.lock",
        f"bring {', '.join(data)} from DVC's cache or remote, or run {DATA_STAGE}",
        f"run {', '.join(STAGES)} with a tracking store of its own",
        f"compare the weights with sha256 {recorded.tags['model_sha256'][:12]}",
    ]


def run_stages(folder: Path, root: Path, recorded: Recorded) -> None:
    """Run the stages in the worktree, without the results that DVC remembers of earlier runs. Raises TrackingError."""
    environment = _environment(folder)
    _bring_storage(root, folder)
    _bring_weights(folder)
    _bring_data(folder, environment)
    for stage in STAGES:
        _run_stage(folder, stage, environment)


def compare(folder: Path, recorded: Recorded, paths: ModuleType) -> Reproduction:
    """Compare what the stages wrote in the worktree with the version."""
    weights = sha256_of(folder / paths.TRAINED)
    is_equal = weights == recorded.tags["model_sha256"]
    lines = [_compared("weights", recorded.tags["model_sha256"], weights)]
    digests = version_digests(folder / paths.VERSION_RECORD, folder / paths.EXPORT)
    lines.append(_compared("exported model", recorded.tags["export_sha256"], digests["export_sha256"]))
    before, after = (yaml.safe_load(text)["stages"] for text in (recorded.lock, (folder / paths.LOCK).read_text()))
    for stage in (DATA_STAGE, "prepare"):
        lines += [
            _compared(path, md5, _outs(after, stage).get(path, "none")) for path, md5 in _outs(before, stage).items()
        ]
    metrics = json.loads((folder / paths.METRICS).read_text(encoding="utf-8"))
    lines += ["", f"{'metric':24} {'version':>8} {'again':>8}"]
    for name in dict.fromkeys([*recorded.metrics, *metrics]):
        lines.append(f"{name:24} {_number(recorded.metrics, name):>8} {_number(metrics, name):>8}")
    here = json.loads((folder / paths.TRAINING_RECORD).read_text(encoding="utf-8"))["environment"]
    if differences := environment_differences(recorded.training["environment"], here):
        lines += ["", "machine and libraries, of the version -> here:", *differences]
    if is_equal:
        return Reproduction(True, ["reproduced: the weights are equal", "", *lines])
    cause = "see the differences below" if differences else "machine and libraries are those of the version"
    return Reproduction(False, [f"not reproduced: the weights differ; {cause}", "", *lines])


@contextmanager
def _worktree(root: Path, recorded: Recorded, at: Path | None) -> Iterator[Path]:
    """A git worktree of the version's code, with its params and dvc.lock; it is removed at the end without `at`."""
    if at and at.exists() and any(at.iterdir()):
        raise TrackingError(f"{at}: the folder has files; choose a new one")
    with tempfile.TemporaryDirectory(prefix="reproduce-") as temporary:
        folder = (at or Path(temporary) / "worktree").absolute()
        _git(root, "worktree", "add", "--quiet", "--detach", str(folder), recorded.commit)
        try:
            write_text(folder / "params.yaml", recorded.params)
            write_text(folder / "dvc.lock", recorded.lock)
            _require_code(root, folder, recorded)
            yield folder
        finally:
            if at is None:
                _git(root, "worktree", "remove", "--force", str(folder))


def _require_code(root: Path, folder: Path, recorded: Recorded) -> None:
    """Raise TrackingError if neither the version's commit nor the current one has the code that made the version."""
    wanted = recorded.tags.get("code.digest")
    if code_digest(folder) == wanted:
        return
    # Perhaps the code was committed after the version was made.
    _git(folder, "checkout", "--quiet", "--force", "--detach", _git(root, "rev-parse", "HEAD"))
    write_text(folder / "params.yaml", recorded.params)
    write_text(folder / "dvc.lock", recorded.lock)
    if code_digest(folder) != wanted:
        raise TrackingError(
            f"the version was made from uncommitted code ({recorded.tags.get('dirty.files', 'unknown files')}), which "
            f"neither commit {recorded.commit[:12]} nor the current one has; check out the commit that has it, and try "
            "again"
        )


def _commit(version: "ModelVersion") -> str:
    commit = version.tags.get("git.commit", "none")
    if commit == "none":
        raise TrackingError(
            f"{version.name} version {version.version} was made outside of git; `dvc repro` in a commit"
        )
    return commit


def _environment(folder: Path) -> dict[str, str]:
    """This environment's Python, the worktree's code, and a tracking store in the worktree."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": programs, "PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1"}


def _bring_storage(root: Path, folder: Path) -> None:
    """Let DVC use this repository's cache and remotes in the worktree."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo, Repo(str(folder)) as other, other.config.edit("local") as config:
        config["cache"]["dir"] = repo.cache.local_cache_dir
        config["remote"] = repo.config["remote"]
        if default := repo.config["core"].get("remote"):
            config["core"]["remote"] = default


def _bring_weights(folder: Path) -> None:
    """Fetch the weights of a registered version that training starts from: the worktree's store lacks them."""
    path = folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    weights = yaml.safe_load(text)["model"]["weights"]
    if str(weights).startswith("models:/"):
        with resolve_weights(weights) as fetched:
            shutil.copy(fetched, folder / "initial.safetensors")
        write_text(path, with_values(text, {"model.weights": "initial.safetensors"}, path))


def _bring_data(folder: Path, environment: Mapping[str, str]) -> None:
    """Bring the raw data from DVC's cache, or else from a remote, or else by the stage that downloads it."""
    reason = ""
    for action in ("checkout", "pull"):
        command = [sys.executable, "-m", "dvc", action, "--quiet", DATA_STAGE]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode == 0:
            return
        reason = (done.stderr.strip().splitlines() or [reason])[-1]
    print(f"reproduce: DVC cannot bring this version's data ({reason}); {DATA_STAGE} fetches it", flush=True)
    _run_stage(folder, DATA_STAGE, environment)


def _run_stage(folder: Path, stage: str, environment: Mapping[str, str]) -> None:
    """Run one stage and show what it prints. Its outputs stay out of the cache. Raises TrackingError."""
    command = ["repro", "--force", "--no-run-cache", "--no-commit", "--single-item", stage]
    if subprocess.run([sys.executable, "-m", "dvc", *command], cwd=folder, env=environment).returncode:
        raise TrackingError(f"{folder}: `dvc repro {stage}` failed; its messages are above")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise TrackingError(
            f"{folder}: `git {shlex.join(arguments)}` failed ({' '.join(done.stderr.split())}); a commit of another "
            "clone comes with `git fetch`"
        )
    return done.stdout.strip()


def _outs(lock: Mapping[str, Any], stage: str) -> dict[str, str]:
    return {out["path"]: out["md5"] for out in lock.get(stage, {}).get("outs", [])}


def _compared(name: str, recorded: str, made: str) -> str:
    return f"{name}: {'equal' if made == recorded else f'{recorded[:12]} -> {made[:12]}'}"


def _number(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.4f}" if name in metrics else "none"

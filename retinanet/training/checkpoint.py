"""Where training stands, on disk, so that an interrupted one goes on as if nothing had happened."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import filelock
import torch

from retinanet.errors import TrainingError
from retinanet.files import sha256_of

KEPT = 2
OLD_DAYS = 7


def fingerprint(settings: dict, files: Iterable[Path], weights: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that change with the settings (JSON values), the content of the files or the first weights.

    These tell what a name in the settings stood for: an alias moves, and a host that was away comes back. Files go by
    their names and their folders', so that a copy of the repository elsewhere has the same.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(files):
        name = f"{path.absolute().parent.name}/{path.name}"
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for name, tensor in weights.items():
        digest.update(name.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def lock_folder(folder: Path, wait_s: float = 10) -> filelock.BaseFileLock:
    """Take the folder for this process until it ends. Raises TrainingError when another keeps it.

    One whose `dvc` was killed needs a moment to notice and to save where it stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock", timeout=wait_s)
    try:
        lock.acquire()
    except FileNotFoundError:  # the other has ended, and taken the folder with it
        return lock_folder(folder, wait_s)
    except filelock.Timeout as error:
        raise TrainingError(
            f"{folder}: another training with the same settings and data runs here; wait for it"
        ) from error
    return lock


def discard_old(folder: Path, days: float = OLD_DAYS) -> tuple[list[str], list[str]]:
    """What other trainings left beside the folder, of other settings, data, code or first weights, by name.

    First those that nobody has touched for some days, which are removed, then the others.
    """
    discarded, others = [], []
    for other in sorted({checkpoint.parent for checkpoint in folder.parent.glob("*/step-*.pt")} - {folder}):
        age = time.time() - max(path.stat().st_mtime for path in (other, *other.iterdir()))
        if age > days * 86400:
            shutil.rmtree(other, ignore_errors=True)
            discarded.append(other.name)
        else:
            others.append(other.name)
    return discarded, others


def save_checkpoint(folder: Path, position: int, state: dict[str, Any]) -> None:
    """Write the state after so many steps whole or not at all, and keep the one before it.

    On a full disk that is said, and the one before goes on to serve.
    """
    path = folder / f"step-{position:08d}.pt"
    micro_batch = path.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with micro_batch.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        # torch.load does not notice a flipped bit; a hash does.
        path.with_suffix(".sha256").write_text(sha256_of(micro_batch))
        micro_batch.rename(path)
    except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
        micro_batch.unlink(missing_ok=True)
        print(f"{path} could not be saved ({' '.join(str(error).split())[:200]}); the one before it serves")
        return
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".sha256").unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest state that is intact, or None."""
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        recorded = path.with_suffix(".sha256")
        if recorded.exists() and recorded.read_text() == sha256_of(path):
            return torch.load(path, map_location="cpu", weights_only=True)
        print(f"{path} is damaged; using the one before it")
    return None

"""Checkpoints from which an interrupted training resumes."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import filelock
import torch

from retinanet.errors import TrainingError
from retinanet.files import sha256_of

KEPT_CHECKPOINTS = 2
MAX_AGE_DAYS = 7


def lock_folder(folder: Path, wait_s: float = 10) -> filelock.BaseFileLock:
    """Lock the folder for this process. Raises TrainingError if another process holds the lock after wait_s seconds.

    A trainer whose `dvc` was killed needs a moment to notice and to save its state.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock", timeout=wait_s)
    try:
        lock.acquire()
    except FileNotFoundError:  # the other training has finished and removed the folder
        return lock_folder(folder, wait_s)
    except filelock.Timeout as error:
        raise TrainingError(
            f"{folder}: another training with the same settings and data is running; wait for it"
        ) from error
    return lock


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write the state after `step` steps atomically, and remove all older checkpoints but one.

    If it cannot be written, as on a full disk, a line is printed and the previous checkpoints stay.
    """
    path = folder / f"step-{step:08d}.pt"
    incomplete = path.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with incomplete.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        # torch.load does not notice a flipped bit; a hash does.
        path.with_suffix(".sha256").write_text(sha256_of(incomplete))
        incomplete.rename(path)
    except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
        incomplete.unlink(missing_ok=True)
        print(f"{path} could not be saved ({' '.join(str(error).split())[:200]}); the previous checkpoint is kept")
        return
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT_CHECKPOINTS]:
        old.unlink()
        old.with_suffix(".sha256").unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Load the newest intact checkpoint; None if there is none."""
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        recorded = path.with_suffix(".sha256")
        if recorded.exists() and recorded.read_text() == sha256_of(path):
            return torch.load(path, map_location="cpu", weights_only=True)
        print(f"{path} is damaged; using the previous checkpoint")
    return None


def discard_old(folder: Path, days: float = MAX_AGE_DAYS) -> tuple[list[str], list[str]]:
    """Remove the folders beside `folder` that no training has written to for some days.

    Returns the names of the removed folders, and of the folders that hold a checkpoint and are kept. A folder that
    another training has locked is in neither.
    """
    discarded, others = [], []
    for other in sorted(path for path in folder.parent.iterdir() if path.is_dir() and path != folder):
        written = _last_written(other)  # before locking, which creates a file
        try:
            with filelock.FileLock(other / "lock", timeout=0):
                if time.time() - written > days * 86400:
                    shutil.rmtree(other, ignore_errors=True)
                    discarded.append(other.name)
                elif any(other.glob("step-*.pt")):
                    others.append(other.name)
        except (filelock.Timeout, FileNotFoundError):  # in use, or removed by the training that has finished
            continue
    return discarded, others


def _last_written(folder: Path) -> float:
    """The latest modification time, in seconds, of the folder's files, or its own if it has none."""
    times = []
    for path in [*folder.glob("*"), folder]:
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:  # a running training renames and removes files
            continue
    return max(times, default=time.time())

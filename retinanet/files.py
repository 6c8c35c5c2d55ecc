"""Atomic replacement of files and folders, and hashes of files."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retinanet.errors import RetinanetError

READ_BYTES = 1 << 20


def sha256_of(path: Path | str) -> str:
    """The sha256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def repo_root() -> Path:
    """The folder of paths in params.yaml: the repository, also if DVC runs a stage in a copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder beside `final` that replaces it when the block succeeds.

    If the block raises, the new folder is removed and `final` is unchanged. Leftovers of a killed run are removed.
    Raises RetinanetError if the folder cannot be created.
    """
    fresh, old = final.with_name(f".{final.name}.new"), final.with_name(f".{final.name}.old")
    if old.exists() and not final.exists():
        old.rename(final)  # killed between the two renames below
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise RetinanetError(
            f"{fresh}: the folder cannot be created ({error.strerror}); check the folder's permissions"
        ) from error
    try:
        yield fresh
        if final.exists():
            final.rename(old)
        fresh.rename(final)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists() and not final.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically; its folder is created if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8", errors="surrogateescape")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file atomically. Raises ValueError for NaN and inf."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"

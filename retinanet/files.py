"""Files and folders that are either there whole or not at all."""

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
    """Where a path in params.yaml starts: the repository, also when DVC runs a stage in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Give an empty folder beside `final` that takes its place, whole, when the block ends well.

    When the block raises, the new folder is removed and `final` stays as it was. What a killed run left is cleared.
    Raises RetinanetError where no folder can be made.
    """
    fresh, old = final.with_name(f".{final.name}.new"), final.with_name(f".{final.name}.old")
    if old.exists() and not final.exists():
        old.rename(final)  # killed between the two renames below
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise RetinanetError(f"{fresh}: the folder cannot be made ({error.strerror}); see to {final.parent}") from error
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
    """Replace a text file in one step, making its folder when needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8", errors="surrogateescape")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file in one step; NaN and inf are refused with a ValueError."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"

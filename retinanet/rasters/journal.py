"""What a run has found so far, in a file to which each finished row of tiles is added: a killed run continues."""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinanet.errors import RetinanetError
from retinanet.files import write_text

# What a tile's network found: box in pixels of the tile, xyxy.
FOUND = np.dtype([("column", "<i4"), ("label", "<i4"), ("score", "<f4"), ("box", "<f4", 4)])


class Journal(NamedTuple):
    """rows are finished; changed names what differs from the run whose rows were dropped, if there was one."""

    path: Path
    rows: int
    changed: tuple[str, ...] = ()


def open_journal(path: Path, key: Mapping[str, object]) -> Journal:
    """Continue the journal of a run with this key, which is JSON, or begin a new one.

    A row that was not written completely is removed. Raises RetinanetError if the file is something else.
    """
    changed: tuple[str, ...] = ()
    if path.exists():
        before = _key(path)
        changed = tuple(name for name in {**before, **key} if before.get(name) != key.get(name))
        if not changed:
            rows, end = _complete(path)
            os.truncate(path, end)
            return Journal(path, rows)
    write_text(path, json.dumps(dict(key)) + "\n")
    return Journal(path, 0, changed)


def add_row(path: Path, row: int, found: np.ndarray) -> None:
    """Add what was found (D,) FOUND in a row of tiles; when this returns, it survives a crash of the machine."""
    line = json.dumps({"row": row, "found": base64.b64encode(found.tobytes()).decode()}) + "\n"
    with open(path, "ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> Iterator[np.ndarray]:
    """(D,) FOUND of each row of tiles, from the top."""
    with open(path, "rb") as file:
        file.readline()
        for line in file:
            yield _found(line)


def _key(path: Path) -> dict[str, object]:
    with open(path, "rb") as file:
        try:
            key = json.loads(file.readline())
        except ValueError:
            key = None
    if not isinstance(key, dict):
        raise RetinanetError(f"{path}: is not the journal of a run; move it away, or choose another --out")
    return key


def _complete(path: Path) -> tuple[int, int]:
    """The number of complete rows, and of the bytes up to their end."""
    with open(path, "rb") as file:
        rows, end = 0, len(file.readline())
        for line in file:
            try:
                is_next = line.endswith(b"\n") and json.loads(line)["row"] == rows
                _found(line)
            except (ValueError, KeyError):
                break
            if not is_next:
                break
            rows, end = rows + 1, end + len(line)
    return rows, end


def _found(line: bytes) -> np.ndarray:
    return np.frombuffer(base64.b64decode(json.loads(line)["found"]), FOUND)

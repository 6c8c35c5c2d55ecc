"""New files that are written piece by piece and are complete whenever the program ends."""

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from retinanet.errors import RetinanetError


class GrowingText:
    """A new text file that ends with `tail` after each addition: the next one overwrites the tail.

    Raises RetinanetError if the file exists. If an addition fails, as on a full disk, the file stays as it was before.
    """

    def __init__(self, path: Path, head: str = "", separator: str = "", tail: str = ""):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115, until close()
        except FileExistsError as error:
            raise RetinanetError(f"{path}: exists already, and no file is replaced; choose another folder") from error
        self._separator, self._tail = separator, _encoded(tail)
        self._end, self._is_empty = 0, True
        self._extend([_encoded(head)])

    def add(self, text: str) -> None:
        """Add one item, after the separator if it is not the first."""
        self._extend([_encoded(text if self._is_empty else self._separator + text)])
        self._is_empty = False

    def close(self, closing: Iterable[bytes] = ()) -> None:
        """Write `closing` in front of the tail and close the file."""
        self._extend(closing)
        self._file.close()

    def _extend(self, pieces: Iterable[bytes]) -> None:
        end = self._end
        try:
            self._file.seek(end)
            for piece in pieces:
                self._write(piece)
            self._end = self._file.tell()
            self._write(self._tail)
        except BaseException:
            self._file.truncate(end)
            self._file.seek(end)
            self._write(self._tail)
            self._end = end
            raise

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[self._file.write(view) :]


class GrowingJson:
    """A new JSON object of constant entries and lists that grow.

    The first list is complete in the file after each addition. The others follow when the object is closed, and are
    kept in unnamed temporary files until then, so that memory does not grow.
    """

    def __init__(self, path: Path, constants: dict[str, object], lists: Sequence[str]):
        first, *others = lists
        head = "".join(f"{json_text(key)}: {json_text(value)},\n" for key, value in constants.items())
        self._first = first
        self._text = GrowingText(path, f"{{{head}{json_text(first)}: [\n", ",\n", "]}\n")
        self._others: dict[str, IO[bytes]] = {
            name: tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115, until close()
            for name in others
        }

    def add(self, name: str, rows: Iterable[object]) -> None:
        """Add rows to one of the lists."""
        for row in rows:
            if name == self._first:
                self._text.add(json_text(row))
            else:
                file = self._others[name]
                file.write(_encoded(f"{',' if file.tell() else ''}\n{json_text(row)}"))

    def close(self) -> None:
        self._text.close(self._closing())
        for file in self._others.values():
            file.close()

    def _closing(self) -> Iterable[bytes]:
        for name, file in self._others.items():
            yield _encoded(f"],\n{json_text(name)}: [")
            file.seek(0)
            while content := file.read(1 << 20):
                yield content


def json_text(content: object) -> str:
    """JSON in one line. Raises ValueError for NaN and inf."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _encoded(text: str) -> bytes:
    # Bytes of a file name that are not UTF-8 are lone surrogates, whose escapes are valid JSON.
    return text.encode("utf-8", "backslashreplace")

"""The files of a source folder, their text, and the files that annotations name."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from retinanet.annotations.records import split_of_folders, splits_agree
from retinanet.dataset.coco_file import is_text, parse_json
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES

# Folders that operating systems and network disks add; hidden files and folders (.name) are left out as well.
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


class Outline(NamedTuple):
    """The keys of a JSON object, and the outline of its first value that is an object or a list of objects.

    is_list: the file has a list of objects, of which this is the first.
    """

    keys: frozenset[str]
    first: "Outline | None"
    is_list: bool = False


class SourceFiles:
    """The files under a folder, without hidden ones and those of SYSTEM_FOLDERS.

    paths are sorted; folders are those with one of them below, root included. Everything that annotations name is
    looked up among them, so nothing outside the folder is read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = sorted(_visible(root))
        self.folders = frozenset(f for path in self.paths for f in path.parents if f.is_relative_to(root))
        self._known = frozenset(self.paths)
        self._folder_names = {folder.name.lower() for folder in self.folders if folder != root}
        self._by_lower = {str(path).lower(): path for path in reversed(self.paths)}
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.images():
            self._by_stem.setdefault(path.stem.lower(), []).append(path)
        self._by_name: dict[str, list[Path]] = {}
        for path in self.paths:
            self._by_name.setdefault(path.name.lower(), []).append(path)
        self._outlines: dict[Path, Outline | None] = {}

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """The files with one of these extensions, in any case."""
        return [path for path in self.paths if path.suffix.lower() in suffixes]

    def named(self, *names: str) -> list[Path]:
        """The files with one of these names, in any case."""
        return sorted(path for name in names for path in self._by_name.get(name.lower(), []))

    def images(self) -> list[Path]:
        return self.with_suffix(*IMAGE_SUFFIXES)

    def parts(self, path: Path) -> tuple[str, ...]:
        """The parts of a path relative to the root."""
        return path.relative_to(self.root).parts

    def split_of_folder(self, path: Path) -> str | None:
        """The split of the innermost folder of a file that is called like one."""
        return split_of_folders(self.parts(path.parent))

    def split_named_by(self, path: Path) -> str | None:
        """The split that a word of an annotation file's name, or else of its innermost folders, is called like."""
        parts = (*self.parts(path.parent), path.stem)
        return split_of_folders(word for part in parts for word in re.findall(r"[a-z]+", part.lower()))

    def find(self, folders: Iterable[Path], name: str) -> Path | None:
        """The file of that relative name in the first of the folders that has it.

        Backslashes count as slashes, and another case as the same if no name is equal.
        """
        names = [name] if _is_relative(name) else []
        names += ["/".join(path_parts(name))] if names else []
        candidates = [folder / candidate for candidate in names for folder in folders]
        exact = next((path for path in candidates if path in self._known), None)
        lower = (self._by_lower.get(str(path).lower()) for path in candidates)
        return exact or next(filter(None, lower), None)

    def json_files(self, *keys: str) -> list[Path]:
        """The JSON files with an object that has these keys. Raises AnnotationError on broken JSON."""
        outlines = [(path, self.json_outline(path)) for path in self.with_suffix(".json")]
        return [path for path, outline in outlines if outline and not outline.is_list and outline.keys >= set(keys)]

    def locate(
        self, names: Iterable[str], folders: Collection[Path], location: Path, taken: Collection[Path] = ()
    ) -> dict[str, Path]:
        """The files that an annotation file names, by name; names without a file are left out.

        A name is looked up in the folders. A path of another computer matches the file whose path ends like it, if
        no other name has it and it is not in `taken`. Raises AnnotationError if several files or names match.
        """
        distinct = list(dict.fromkeys(names))
        found = {name: path for name in distinct if (path := self.find(folders, name))}
        # If some images lie beside the file, a bare name that does not is missing.
        others = [name for name in distinct if name not in found and (not found or len(path_parts(name)) > 1)]
        if not others:
            return found
        exact = {*found.values(), *taken}
        claimed: dict[Path, str] = {}
        for name in others:
            path = self._ends_like(name, folders, location, exact)
            if path is None:
                continue
            if path in claimed:
                raise AnnotationError(
                    f"{location}: {claimed[path]!r} and {name!r} could both be {path}; name each image by its path"
                )
            claimed[path] = name
            found[name] = path
        return found

    def json_outline(self, path: Path) -> Outline | None:
        """The outline of a JSON file, or of the first object of a list; None for other content.

        Raises AnnotationError on broken JSON.
        """
        if path not in self._outlines:
            seen: dict[Outline, Outline] = {}  # most objects of a file have the same keys

            def outline_of(row: dict) -> Outline:
                outline = Outline(frozenset(row), _first_outline(row.values()))
                return seen.setdefault(outline, outline)

            content = read_json(path, outline_of)
            outline = _first_outline([content])
            self._outlines[path] = outline and outline._replace(is_list=isinstance(content, list))
        return self._outlines[path]

    def _ends_like(self, name: str, folders: Collection[Path], location: Path, taken: Collection[Path]) -> Path | None:
        parts = path_parts(name)
        if not parts:
            return None
        above = parts[:-1]
        if above and _is_relative(name) and any(folder.joinpath(*above) in self.folders for folder in folders):
            return None  # its folder is there, without the file
        last = parts[-1].lower()
        # Frames of a video are listed without an extension.
        has_suffix = Path(last).suffix in IMAGE_SUFFIXES
        candidates = self._by_name.get(last, []) if has_suffix else self._by_stem.get(last, [])
        ends = {path: self.parts(path.parent)[::-1] for path in candidates if path not in taken}
        scores = {path: common_length(end, above[::-1]) for path, end in ends.items()}
        if above and above[-1].lower() in self._folder_names:
            scores = {path: score for path, score in scores.items() if score}  # a folder of that name is there
        split = split_of_folders(above) or self.split_named_by(location)
        scores = {path: score for path, score in scores.items() if splits_agree(split, self.split_of_folder(path))}
        best = [path for path, score in scores.items() if score == max(scores.values())]
        if len(best) > 1:
            raise AnnotationError(f"{location}: {name!r} could be {best[0]} or {best[1]}; name the image by its path")
        return best[0] if best else None


def check_listed_name(name: object, location: str) -> None:
    """Raise AnnotationError if the file name of an image is not a path. It may be one of another computer."""
    if not isinstance(name, str) or not name.strip() or "\0" in name or not is_text(name):
        raise AnnotationError(f"{location} has file name {name!r}; it must be a path")


def path_parts(name: str) -> list[str]:
    """Folders and file of a path of any computer: without drive, host, `.`, `..` and `~`.

    Label Studio's URLs are quoted, and may have the path after `?d=`.
    """
    if "://" in name or name.startswith("/data/"):
        name = unquote(name.partition("?d=")[2] or name.partition("?")[0])
    parts = re.split(r"[\\/]+", name)
    return [part for part in parts if part not in ("", ".", "..", "~") and not part.endswith(":")]


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8 or, with a byte order mark, UTF-16. Raises AnnotationError."""
    content = path.read_bytes()
    try:
        return content.decode(_encoding(content)).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises AnnotationError if it is not text."""
    return read_text(path).splitlines()


def read_start(path: Path, count: int = 10_000) -> str:
    """The first `count` bytes of a file of any kind as text; bytes that are not text are replaced."""
    with open(path, "rb") as file:
        start = file.read(count)
    return start.decode(_encoding(start), errors="replace")


def read_json(path: Path, object_hook: Callable[[dict], Any] | None = None) -> Any:
    """The content of a JSON file. Raises AnnotationError if it is not JSON."""
    return parse_json(read_text(path), str(path), object_hook)


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """The number of first parts that two paths share, in any case."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0].lower() == pair[1].lower(), pairs))


def _encoding(start: bytes) -> str:
    return "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"


def _visible(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name not in SYSTEM_FOLDERS]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _is_relative(name: str) -> bool:
    """Whether a path is relative and stays inside its folder."""
    parts = re.split(r"[\\/]", name)
    return is_text(name) and bool(parts[0]) and ".." not in parts and not parts[0].endswith(":") and parts[0] != "~"


def _first_outline(values: Iterable[object]) -> Outline | None:
    for value in values:
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, Outline):
            return value
    return None

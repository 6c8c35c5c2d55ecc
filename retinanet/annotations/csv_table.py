"""Reader of CSV tables: keras-retinanet's `path,x1,y1,x2,y2,class` without a header, or named columns."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.paths import find_file, read_text
from retinanet.annotations.records import (
    SPLIT_NAMES,
    Box,
    Finding,
    SourceDataset,
    SourceImage,
    split_of_folders,
)
from retinanet.dataset.coco_file import check_class_name, check_file_name
from retinanet.errors import AnnotationError

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")
# Other names of the columns.
ALIASES = {
    "path": ("file_name", "filename", "file", "image_path", "image", "img_path"),
    "x1": ("xmin", "left", "x_min"),
    "y1": ("ymin", "top", "y_min"),
    "x2": ("xmax", "right", "x_max"),
    "y2": ("ymax", "bottom", "y_max"),
    "class": ("label", "class_name", "category", "name"),
    "split": ("set", "subset"),
}
COLUMN_OF_ALIAS = {word: name for name, aliases in ALIASES.items() for word in (name, *aliases)}


class Row(NamedTuple):
    """A row of a table: cells by column, and its location, `file: line N`."""

    cells: dict[str, str]
    location: str


def find_csv_files(root: Path) -> list[Path]:
    """The CSV files under `root` whose first row is a box or a header with all columns of one."""
    return [path for path in sorted(root.rglob("*.csv")) if path.is_file() and _columns(_first_row(path))]


def read_csv_source(root: Path, group_column: str = "") -> SourceDataset:
    """Read the tables of boxes under `root`. A row with only a path is an image without objects.

    The split is read from a column or, if there are several tables, from their names. A `classes.csv` with rows of
    `name,id` declares the classes. Raises AnnotationError.
    """
    files = find_csv_files(root)
    source = SourceDataset("csv", class_names=_class_list(root))
    images: dict[Path, SourceImage] = {}
    boxes: dict[Path, list[Box]] = {}
    missing: set[str] = set()
    for path in files:
        split_of_file = _split_named_by(path, root) if len(files) > 1 else None
        for row in _rows(path):
            name = row.cells["path"]
            check_file_name(name, row.location)
            file = find_file(dict.fromkeys((path.parent, path.parent / "images", root, root / "images")), name)
            if file is None:
                if name not in missing:
                    source.skipped.append(Finding(name, f"listed in {row.location}, but the image is missing"))
                missing.add(name)
                continue
            split = _split_of(row) or split_of_file
            group = row.cells.get(group_column) or None
            image = images.setdefault(file, SourceImage(file, (), split=split, group=group))
            if (image.split, image.group) != (split, group):
                raise AnnotationError(
                    f"{row.location} has {name!r} in split {split} and group {group}, but an earlier row in "
                    f"{image.split} and {image.group}; make them agree"
                )
            box = _box(row, source.class_names)
            boxes.setdefault(file, []).extend([box] if box else [])
    source.images = [replace(image, boxes=tuple(boxes[file])) for file, image in sorted(images.items())]
    return source


def _first_row(path: Path) -> list[str]:
    try:
        # read_text reports invalid UTF-8 when the rows are read.
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
            return next(csv.reader(file), [])
    except csv.Error:
        return []


def _columns(first: list[str]) -> list[str] | None:
    """The canonical names of the columns, given the first row; None if the file is not a table of boxes."""
    is_plain = len(first) == len(COLUMNS) and all(_is_number(cell) or not cell.strip() for cell in first[1:5])
    return list(COLUMNS) if is_plain else _header(first)


def _header(cells: list[str]) -> list[str] | None:
    names = [COLUMN_OF_ALIAS.get(cell.strip().lower(), cell.strip()) for cell in cells]
    return names if set(COLUMNS) <= set(names) else None


def _cells(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(location, cells) of each row that is not empty."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise AnnotationError(f"{path}: line {reader.line_num}: broken CSV ({error}); write it again") from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield f"{path}: line {reader.line_num}", cells


def _rows(path: Path) -> Iterator[Row]:
    columns: list[str] = []
    for location, cells in _cells(path):
        if not columns:
            columns = _columns(cells) or list(COLUMNS)
            if _header(cells):
                continue
        if len(cells) != len(columns):
            raise AnnotationError(
                f"{location} has {len(cells)} cells; the table has {len(columns)}: {','.join(columns)}; correct the row"
            )
        yield Row({name: cell.strip() for name, cell in zip(columns, cells, strict=True)}, location)


def _box(row: Row, class_names: list[str]) -> Box | None:
    sides, name = [row.cells[side] for side in COLUMNS[1:5]], row.cells["class"]
    if not any(sides):
        return None
    if not all(_is_number(side) for side in sides):
        raise AnnotationError(
            f"{row.location} has the box {','.join(sides)}; it needs four numbers or four empty cells"
        )
    check_class_name(name, row.location)
    if class_names and name not in class_names:
        raise AnnotationError(f"{row.location} has class {name!r}; classes.csv declares {', '.join(class_names)}")
    left, top, right, bottom = (float(side) for side in sides)
    return Box(name, (left, top, right, bottom))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _split_of(row: Row) -> str | None:
    split = row.cells.get("split", "").lower()
    if split and split not in SPLIT_NAMES:
        raise AnnotationError(f"{row.location} has split {split!r}; it must be one of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES.get(split)


def _split_named_by(path: Path, root: Path) -> str | None:
    words = path.stem.lower().replace("-", "_").split("_")
    return split_of_folders((*path.parent.relative_to(root).parts, *words))


def _class_list(root: Path) -> list[str]:
    """Class names of a classes.csv (class_list.csv, class_map.csv …), whose rows are a name and a number."""
    for path in sorted(root.rglob("*class*.csv")):
        rows = [cells for _, cells in _cells(path)]
        if rows and all(len(row) == 2 and row[1].strip().isdecimal() for row in rows):
            return [row[0].strip() for row in sorted(rows, key=lambda row: int(row[1]))]
    return []

"""Reader of tables of boxes: named columns, or the columns of keras-retinanet, SKU-110K or makesense without names."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.files import SourceFiles, read_start, read_text
from retinanet.annotations.records import (
    SPLIT_NAMES,
    Box,
    Finding,
    SourceDataset,
    SourceImage,
)
from retinanet.dataset.coco_file import check_class_name
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")
# Columns that tools write without a header.
PLAIN_TABLES = (
    COLUMNS,  # keras-retinanet
    (*COLUMNS, "image_width", "image_height"),  # SKU-110K
    ("class", "x1", "y1", "box_width", "box_height", "path", "image_width", "image_height"),  # makesense
)
# Other names of the columns.
ALIASES = {
    "path": ("file_name", "filename", "file", "image_path", "image", "img_path", "image_name"),
    "x1": ("xmin", "left", "x_min", "bbox_x"),
    "y1": ("ymin", "top", "y_min", "bbox_y"),
    "x2": ("xmax", "right", "x_max"),
    "y2": ("ymax", "bottom", "y_max"),
    "box_width": ("bbox_width",),  # beside x1 and y1, instead of x2 and y2
    "box_height": ("bbox_height",),
    "class": ("label", "class_name", "category", "name", "label_name"),
    "split": ("set", "subset"),
}
OPPOSITE_CORNERS = (("x2", "y2"), ("box_width", "box_height"))
BOX_COLUMNS = ("x1", "y1", *OPPOSITE_CORNERS[0], *OPPOSITE_CORNERS[1])
COLUMN_OF_ALIAS = {word: name for name, aliases in ALIASES.items() for word in (name, *aliases)}
DELIMITERS = ",;\t"  # spreadsheets of some languages write semicolons


class Row(NamedTuple):
    """A row of a table: cells by column, and its location, `file: line N`."""

    cells: dict[str, str]
    location: str


def find_csv_files(files: SourceFiles) -> list[Path]:
    """The CSV files whose first row is a box or a header with all columns of one."""
    return [path for path in files.with_suffix(".csv", ".tsv") if _columns(first_row(path), str(path))]


def read_csv_source(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the tables of boxes. A row with only a path is an image without objects.

    The split is read from a column or, if there are several tables, from their names. A `classes.csv` with rows of
    `name,id` declares the classes. Raises AnnotationError.
    """
    tables = find_csv_files(files)
    source = SourceDataset("csv", class_names=_class_list(files))
    images: dict[Path, SourceImage] = {}
    boxes: dict[Path, list[Box]] = {}
    in_table: dict[Path, Path] = {}
    shared: set[Path] = set()
    for table in tables:
        split_of_table = files.split_named_by(table) if len(tables) > 1 else None
        rows = list(_rows(table))
        folders = dict.fromkeys((table.parent, table.parent / "images", files.root, files.root / "images"))
        located = files.locate((row.cells["path"] for row in rows), folders, table)
        missing = {row.cells["path"]: row.location for row in reversed(rows) if row.cells["path"] not in located}
        for name, location in reversed(missing.items()):
            source.skipped.append(Finding(name, f"listed in {location}, but the image is missing"))
        for row in rows:
            name = row.cells["path"]
            file = located.get(name)
            if file is None:
                continue
            if in_table.setdefault(file, table) != table:
                shared.add(file)
            split = _split_of(row) or split_of_table or files.split_of_folder(file)
            group = row.cells.get(group_column) or None
            image = images.setdefault(file, SourceImage(file, (), split=split, group=group))
            if (image.split, image.group) != (split, group):
                raise AnnotationError(
                    f"{row.location} has {name!r} in split {split} and group {group}, but an earlier row in "
                    f"{image.split} and {image.group}; make them agree"
                )
            box = _box(row, source.class_names)
            boxes.setdefault(file, []).extend([box] if box else [])
    if shared:
        source.remarks.append(f"{len(shared)} images are in several tables, whose boxes are merged: {min(shared)}")
    source.images = [replace(image, boxes=tuple(boxes[file])) for file, image in sorted(images.items())]
    return source


def delimiter_of(text: str) -> str:
    """The delimiter that occurs most often in the first line; a comma if none does."""
    return max(DELIMITERS, key=text.partition("\n")[0].count)


def first_row(path: Path) -> list[str]:
    """The cells of a table's first row; empty if it cannot be read."""
    text = read_start(path, 200_000)
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text)), [])
    except csv.Error:
        return []


def _columns(first: list[str], location: str) -> list[str] | None:
    """The canonical names of the columns, given the first row; None if the file is not a table of boxes.

    Raises AnnotationError if two columns have one meaning.
    """
    for names in PLAIN_TABLES:
        cells = dict(zip(names, first, strict=False))
        sides = [cell for name, cell in cells.items() if name in BOX_COLUMNS]
        is_box = all(_is_number(cell) or not cell.strip() for cell in sides)
        if len(first) == len(names) and is_box and Path(cells["path"].strip()).suffix.lower() in IMAGE_SUFFIXES:
            return list(names)
    return _header(first, location)


def _header(cells: list[str], location: str) -> list[str] | None:
    names = [COLUMN_OF_ALIAS.get(cell.strip().lower(), cell.strip()) for cell in cells]
    for name in set(names) & set(COLUMN_OF_ALIAS.values()):
        columns = [cell.strip() for cell, column in zip(cells, names, strict=True) if column == name]
        if len(columns) > 1 and {"path", "class"} <= set(names):
            raise AnnotationError(f"{location}: columns {' and '.join(columns)} could both be the {name}; rename one")
    is_table = any({"path", "class", "x1", "y1", *corner} <= set(names) for corner in OPPOSITE_CORNERS)
    return names if is_table else None


def _cells(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(location, cells) of each row that is not empty."""
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter_of(text))
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
            columns = _columns(cells, location) or list(COLUMNS)
            if _header(cells, location):
                continue
        if len(cells) != len(columns):
            raise AnnotationError(
                f"{location} has {len(cells)} cells; the table has {len(columns)}: {','.join(columns)}; correct the row"
            )
        row = Row({name: cell.strip() for name, cell in zip(columns, cells, strict=True)}, location)
        if not row.cells["path"]:
            raise AnnotationError(f"{location} has no path of an image; add it")
        yield row


def _box(row: Row, class_names: list[str]) -> Box | None:
    corner = next(corner for corner in OPPOSITE_CORNERS if corner[0] in row.cells)
    sides, name = [row.cells[side] for side in ("x1", "y1", *corner)], row.cells["class"]
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
    return Box(name, (left, top, right, bottom) if "x2" in row.cells else (left, top, left + right, top + bottom))


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


def _class_list(files: SourceFiles) -> list[str]:
    """Class names of a classes.csv (class_list.csv, class_map.csv …), whose rows are a name and a number."""
    for path in (path for path in files.with_suffix(".csv") if "class" in path.name.lower()):
        rows = [cells for _, cells in _cells(path)]
        numbers = {row[1].strip() for row in rows if len(row) == 2}
        if rows and numbers in ({str(n + first) for n in range(len(rows))} for first in (0, 1)):
            return [row[0].strip() for row in sorted(rows, key=lambda row: int(row[1]))]
    return []

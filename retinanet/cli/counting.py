"""`retinanet count`: the table of images that a person counted, the detections of all images, and the totals."""

import csv
import io
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from retinanet.annotations.csv_table import delimiter_of
from retinanet.annotations.files import read_text
from retinanet.cli.inputs import read_ahead
from retinanet.cli.totals import MIN_COUNTED, total_of
from retinanet.errors import ImageError, RetinanetError, first_of
from retinanet.files import write_text
from retinanet.inference.detector import Detector

IMAGE = "image"


class Table(NamedTuple):
    """The text of a CSV file, its columns, and the cells of each image by column."""

    text: str
    columns: list[str]
    rows: dict[str, dict[str, str]]


def draw_images(path: Path, names: Sequence[str], class_names: Sequence[str], count: int) -> int:
    """Add up to `count` images, drawn at random, to the table of images to count, and return how many were added.

    The order of the draw depends on the names alone, so that a second draw continues the first. What the table has
    stays as it is.
    """
    table = _read_table(path) if path.exists() else Table("", [IMAGE, *class_names], {})
    order = np.random.default_rng(0).permutation(len(names))
    drawn = [name for name in (sorted(names)[i] for i in order) if name not in table.rows][:count]
    added = io.StringIO()
    writer = csv.DictWriter(added, table.columns, delimiter=delimiter_of(table.text), lineterminator="\n")
    if not table.text:
        writer.writeheader()
    elif not table.text.endswith("\n"):
        added.write("\n")
    writer.writerows({IMAGE: name} for name in drawn)
    write_text(path, table.text + added.getvalue())
    return len(drawn)


def read_counted(path: Path, names: Sequence[str], class_names: Sequence[str]) -> dict[str, list[int]]:
    """The counted images: the number of objects of each class by name. Rows without any number are left out.

    Raises RetinanetError for an unknown image or class, and for a cell that is no number.
    """
    table = _read_table(path)
    if missing := [name for name in class_names if name not in table.columns]:
        raise RetinanetError(f"{path}: no column {first_of(missing)}; it needs {IMAGE} and one for each class")
    known, counted = set(names), dict[str, list[int]]()
    for image, cells in table.rows.items():
        texts = [cells[name].strip() for name in class_names]
        if not any(texts):
            continue
        if image not in known:
            raise RetinanetError(f"{path}: {image} is not among the images; name it as it is below their folder")
        for name, text in zip(class_names, texts, strict=True):
            if not text.isdecimal():
                raise RetinanetError(
                    f"{path}: {image}, {name}: {text!r} is no count; write a number, 0 if there is none"
                )
        counted[image] = [int(text) for text in texts]
    return counted


def require_enough(path: Path, counted: Collection[str]) -> None:
    """Raise RetinanetError if too few images are counted for an interval."""
    if len(counted) < MIN_COUNTED:
        raise RetinanetError(
            f"{path}: {len(counted)} readable images are counted, an interval needs {MIN_COUNTED}; write more numbers, "
            "or add images with --draw"
        )


def count_detections(
    detector: Detector, images: Sequence[Path], scores: float | Sequence[float]
) -> tuple[dict[Path, np.ndarray], list[str]]:
    """(K,) numbers of detections of at least these scores by image, and the images that cannot be read."""
    counts, failed = dict[Path, np.ndarray](), list[str]()
    with closing(read_ahead(images, detector.reading)) as decoded:
        for path, image in tqdm(decoded, total=len(images), unit=" images", delay=1, leave=False, file=sys.stderr):
            if isinstance(image, ImageError):
                print(f"error: {image}", file=sys.stderr)
                failed.append(str(path))
            else:
                labels = detector([image.pixels])[0].above(scores).labels
                counts[path] = np.bincount(labels, minlength=len(detector.class_names))
    return counts, failed


def totals_text(
    detected: Mapping[str, np.ndarray], counted: Mapping[str, Sequence[int]], classes: Sequence[str]
) -> str:
    """A line for each class: its total with the 95% interval. detected are by name, of all images."""
    names = list(detected)
    counts, rows = np.array(list(detected.values())), np.array([names.index(name) for name in counted])
    by_hand = np.array(list(counted.values()))
    lines = [f"{len(names)} images, {len(rows)} of them counted by hand"]
    for label, name in enumerate(classes):
        total = total_of(counts[:, label], rows, by_hand[:, label])
        more = f"count {total.more} more images for +-5%" if total.more else "within +-5%"
        lines.append(
            f"{name}: {total.value:.0f} (95% interval {total.low:.0f} to {total.high:.0f}; {total.detected} detected); "
            f"{more}"
        )
    return "\n".join(lines)


def _read_table(path: Path) -> Table:
    try:
        text = read_text(path)
        reader = csv.DictReader(io.StringIO(text), delimiter=delimiter_of(text), restval="")
        rows = list(reader)
    except (OSError, csv.Error) as error:
        raise RetinanetError(
            f"{path}: cannot be read as a table ({error}); `--draw 20` writes one to fill in"
        ) from error
    if any(not row.get(IMAGE) for row in rows):
        raise RetinanetError(f"{path}: a row has no {IMAGE}; the first line names the columns: {IMAGE} and the classes")
    return Table(text, list(reader.fieldnames or []), {row[IMAGE].replace("\\", "/"): row for row in rows})

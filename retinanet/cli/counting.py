"""`retinanet count`: the table of images that a person counted, the detections of all images, and the totals."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from retinanet.cli.inputs import read_ahead
from retinanet.cli.totals import MIN_COUNTED, total_of
from retinanet.errors import ImageError, RetinanetError, first_of
from retinanet.files import write_text
from retinanet.inference.detector import Detector

IMAGE = "image"


def draw_images(path: Path, names: Sequence[str], class_names: Sequence[str], count: int) -> int:
    """Add up to `count` images, drawn at random, to the table of images to count, and return how many were added.

    The order of the draw depends on the names alone, so that a second draw continues the first.
    """
    present = _read_table(path) if path.exists() else {}
    order = np.random.default_rng(0).permutation(len(names))
    drawn = [name for name in (sorted(names)[i] for i in order) if name not in present][:count]
    text = io.StringIO()
    table = csv.DictWriter(text, [IMAGE, *class_names], restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows({IMAGE: name, **present.get(name, {})} for name in [*present, *drawn])
    write_text(path, text.getvalue())
    return len(drawn)


def read_counted(path: Path, names: Sequence[str], class_names: Sequence[str]) -> dict[str, list[int]]:
    """The counted images: the number of objects of each class by name. Rows without any number are left out.

    Raises RetinanetError for an unknown image or class, and for a cell that is no number.
    """
    table = _read_table(path)
    if missing := [name for name in class_names if any(name not in cells for cells in table.values())]:
        raise RetinanetError(f"{path}: no column {first_of(missing)}; it needs {IMAGE} and one for each class")
    known, counted = set(names), dict[str, list[int]]()
    for image, cells in table.items():
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
    if len(counted) < MIN_COUNTED:
        raise RetinanetError(
            f"{path}: {len(counted)} images are counted, an interval needs {MIN_COUNTED}; `--draw` adds images to count"
        )
    return counted


def count_detections(
    detector: Detector, images: Sequence[Path], scores: float | Sequence[float]
) -> tuple[dict[Path, np.ndarray], list[str]]:
    """(K,) numbers of detections of at least these scores by image, and the images that cannot be read."""
    counts, failed = dict[Path, np.ndarray](), list[str]()
    with closing(read_ahead(images)) as decoded:
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


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            start = file.readline()
            file.seek(0)
            # Spreadsheets of some countries write semicolons.
            rows = list(csv.DictReader(file, delimiter=";" if start.count(";") > start.count(",") else ","))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RetinanetError(
            f"{path}: cannot be read as a table ({error}); `--draw 20` writes one to fill in"
        ) from error
    if any(not row.get(IMAGE) for row in rows):
        raise RetinanetError(f"{path}: a row has no {IMAGE}; the first line names the columns: {IMAGE} and the classes")
    return {row[IMAGE].replace("\\", "/"): {k: v or "" for k, v in row.items() if k and k != IMAGE} for row in rows}

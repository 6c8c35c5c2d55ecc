"""The files that `retinanet predict` writes, image by image, into a folder of its own."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from retinanet.annotations.records import Box
from retinanet.cli.growing_files import GrowingJson, GrowingText, json_text
from retinanet.cli.written_formats import WRITTEN_FORMATS, PredictedImage
from retinanet.drawing import draw_detections
from retinanet.errors import RetinanetError
from retinanet.images.reading import Decoded
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.inference.results import coco_results

DRAWN_QUALITY = 92
MAX_JPEG_SIDE = 65_500
DEFAULT_FOLDER = Path("predictions")


def new_out_folder(out: Path | None) -> Path:
    """The folder to write into, which is missing or empty, so that nothing is replaced; it is not created yet.

    None is `predictions`, or the first of `predictions-2`, ... that is free. Raises RetinanetError if `out` is a file
    or has files.
    """
    if out is None:
        return next(path for path in numbered_paths(DEFAULT_FOLDER) if _is_free(path))
    if not _is_free(out):
        reason = "has files already, and none is replaced" if out.is_dir() else "is a file"
        raise RetinanetError(f"{out}: {reason}; choose another folder with --out")
    return out


class ResultFiles:
    """Files of detections, complete after each image that is added.

    detections.json is a COCO results file: rows of image_id, category_id, bbox xywh, score. images.json is a COCO
    annotation file without annotations: the images and categories of these ids, and under `failed`, once it is closed,
    the images that could not be read, with the error. formats are keys of WRITTEN_FORMATS: the detections are also
    written in these forms, which labeling tools import. Raises RetinanetError if the folder cannot be created.
    """

    def __init__(self, out: Path, detector: Detector, formats: Sequence[str] = (), draw: bool = True):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RetinanetError(
                f"{out}: the folder cannot be created ({error.strerror}); choose another with --out"
            ) from error
        self.out, self.draw, self.done, self.failed = out, draw, 0, list[str]()
        self._class_names, self._category_ids = detector.class_names, detector.category_ids
        categories = [
            {"id": category_id, "name": name}
            for category_id, name in zip(detector.category_ids, detector.class_names, strict=True)
        ]
        constants: dict[str, object] = {"categories": categories, "annotations": []}
        self._images = GrowingJson(out / "images.json", constants, ["images", "failed"])
        self._results = GrowingText(out / "detections.json", "[\n", ",\n", "\n]\n")
        self._annotations = [WRITTEN_FORMATS[name].open(out, detector.class_names) for name in formats]

    def __enter__(self) -> "ResultFiles":
        return self

    def __exit__(self, *exception: object) -> None:
        self._images.close()
        self._results.close()
        for file in self._annotations:
            file.close()

    def add(self, number: int, path: Path, name: str, image: Decoded, detections: Detections) -> str:
        """Write the detections of an image, whose id is `number`, and return a line about them.

        name is its path in the labeling tool's formats.
        """
        height, width = image.pixels.shape[:2]
        drawn = f": {self._draw(path, image.pixels, detections)}" if self.draw else ""
        predicted = _predicted(name, width, height, detections, self._class_names)
        for file in self._annotations:
            file.add(predicted)
        rows = coco_results(number, detections, self._category_ids)
        if rows:
            self._results.add(",\n".join(map(json_text, rows)))
        self._images.add("images", [{"id": number, "file_name": str(path), "width": width, "height": height}])
        self.done += 1
        first_frame = " (first frame of an animation)" if "animated" in image.traits else ""
        return f"{path}{first_frame}: {_counts_by_class(detections.labels, self._class_names)}{drawn}"

    def add_failed(self, path: Path, error: Exception) -> None:
        """Write that an image could not be read."""
        self._images.add("failed", [{"file_name": str(path), "error": str(error)}])
        self.failed.append(str(path))

    def _draw(self, path: Path, image: np.ndarray, detections: Detections) -> Path:
        drawn = Image.fromarray(draw_detections(image, detections, self._class_names))
        suffix = ".jpg" if max(drawn.size) <= MAX_JPEG_SIDE else ".png"
        for target in numbered_paths(self.out / f"{path.stem}{suffix}"):
            try:
                # Also on a file system that ignores case, no drawing replaces another.
                with open(target, "xb") as file:
                    _save(drawn, file)
                return target
            except FileExistsError:
                continue
        raise AssertionError("the numbers do not end")


def _save(image: Image.Image, file: IO[bytes]) -> None:
    try:
        image.save(file, quality=DRAWN_QUALITY)
    except OSError:  # a full disk
        Path(file.name).unlink()
        raise


def numbered_paths(path: Path) -> Iterator[Path]:
    """The path, then with -2, -3, ... before its suffix."""
    yield path
    for i in count(2):
        yield path.with_name(f"{path.stem}-{i}{path.suffix}")


def _is_free(folder: Path) -> bool:
    """Whether a folder is missing, or has hidden files at most."""
    if not folder.exists():
        return not folder.is_symlink()
    return folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())


def _counts_by_class(labels: np.ndarray, class_names: Sequence[str]) -> str:
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return (
        ", ".join(f"{count} {name}" for count, name in zip(counts, class_names, strict=True) if count)
        or "no detections"
    )


def _predicted(
    name: str, width: int, height: int, detections: Detections, class_names: Sequence[str]
) -> PredictedImage:
    boxes = tuple(
        Box(class_names[label], (left, top, right, bottom))
        for label, (left, top, right, bottom) in zip(
            detections.labels.tolist(), detections.boxes_xyxy.tolist(), strict=True
        )
    )
    return PredictedImage(name, width, height, boxes, tuple(detections.scores.tolist()))

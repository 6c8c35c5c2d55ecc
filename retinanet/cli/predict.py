"""`retinanet predict`: detect objects in images, draw them and write COCO files."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.records import Box
from retinanet.cli.workspace import in_workspace, workspace_paths
from retinanet.cli.written_formats import WRITTEN_FORMATS, PredictedImage
from retinanet.drawing import draw_detections
from retinanet.errors import ImageError, WeightsError
from retinanet.export.runtimes import exported_runtime
from retinanet.files import write_json
from retinanet.images.reading import IMAGE_SUFFIXES, read_image
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.inference.results import coco_results

DRAWN_QUALITY = 92


def predict_images(
    detector: Detector, images: Sequence[Path], out: Path, min_score: float, formats: Sequence[str] = ()
) -> int:
    """Write COCO files and a drawn copy of each image into `out`; returns how many images could not be read.

    detections.json is a COCO results file: rows of image_id, category_id, bbox xywh, score. images.json is a COCO
    annotation file without annotations: the images and categories of these ids, and under `failed` the images that
    could not be read, with the error, which is also printed on stderr. formats are keys of WRITTEN_FORMATS: the
    detections are also written in these forms, which labeling tools import, with paths relative to the images' common
    folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows, results, failed, predicted = [], [], [], []
    names_of = _relative_names(images)
    names: set[str] = set()
    for number, path in enumerate(images, start=1):
        try:
            image = read_image(path)
        except ImageError as error:
            failed.append({"file_name": str(path), "error": str(error)})
            print(f"error: {error}", file=sys.stderr, flush=True)
            continue
        detections = detector([image])[0].above(min_score)
        drawn = out / _unique_name(path, names)
        _save(draw_detections(image, detections, detector.class_names), drawn)
        rows.append({"id": number, "file_name": str(path), "width": image.shape[1], "height": image.shape[0]})
        results += coco_results(number, detections, detector.category_ids)
        predicted.append(_predicted(names_of[path], image, detections, detector.class_names))
        print(f"{path}: {_counts_by_class(detections.labels, detector.class_names)}: {drawn}", flush=True)
    categories = [
        {"id": category_id, "name": name}
        for category_id, name in zip(detector.category_ids, detector.class_names, strict=True)
    ]
    write_json(out / "images.json", {"images": rows, "annotations": [], "categories": categories, "failed": failed})
    write_json(out / "detections.json", results)
    for name in formats:
        WRITTEN_FORMATS[name].write(predicted, detector.class_names, out / WRITTEN_FORMATS[name].file_name)
    return len(failed)


def find_images(names: Sequence[str]) -> list[Path]:
    """The named files, and the image files in the named folders, without hidden ones.

    Raises ImageError for a folder without images.
    """
    paths = []
    for path in map(Path, names):
        if not path.is_dir():
            paths.append(path)
            continue
        found = SourceFiles(path).images()
        if not found:
            raise ImageError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
        paths += found
    return paths


@contextmanager
def model_path(name: str | None) -> Iterator[Path]:
    """The file of a model: a path, models:/NAME@ALIAS or models:/NAME/VERSION, or None for this workspace's model.

    Raises WeightsError or TrackingError if there is none.
    """
    if name is None:
        yield _workspace_model()
    elif name.startswith("models:/"):
        with _registered(name) as path:
            yield path
    else:
        yield Path(name)


def _workspace_model() -> Path:
    if not in_workspace():
        raise WeightsError(f"{Path.cwd()}: not a pipeline repository, so there is no default model; use --model")
    paths = workspace_paths()
    try:
        # The exported model is the one that is served, and it opens without torch.
        return paths.EXPORT / exported_runtime(paths.EXPORT).file_name
    except WeightsError:
        if paths.MODEL.exists():
            return paths.MODEL
        raise


@contextmanager
def _registered(uri: str) -> Iterator[Path]:
    from retinanet.tracking.registered_weights import named_version
    from retinanet.tracking.registry import check_digest, model_files
    from retinanet.tracking.store import open_client

    client = open_client()
    version = named_version(client, uri)
    print(f"{uri} is version {version.version}", flush=True)
    check_digest(client, version)
    with model_files(client, version) as folder:
        exported = folder / "artifacts" / "exported"
        yield exported / exported_runtime(exported).file_name


def _counts_by_class(labels: np.ndarray, class_names: Sequence[str]) -> str:
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return (
        ", ".join(f"{count} {name}" for count, name in zip(counts, class_names, strict=True) if count)
        or "no detections"
    )


def _relative_names(images: Sequence[Path]) -> dict[Path, str]:
    """The paths of images relative to their common folder, with forward slashes."""
    absolute = {path: path.absolute() for path in images}
    common = Path(os.path.commonpath([path.parent for path in absolute.values()])) if absolute else Path()
    return {path: full.relative_to(common).as_posix() for path, full in absolute.items()}


def _predicted(name: str, image: np.ndarray, detections: Detections, class_names: Sequence[str]) -> PredictedImage:
    boxes = tuple(
        Box(class_names[label], (float(xyxy[0]), float(xyxy[1]), float(xyxy[2]), float(xyxy[3])))
        for label, xyxy in zip(detections.labels.tolist(), detections.boxes_xyxy, strict=True)
    )
    return PredictedImage(name, image.shape[1], image.shape[0], boxes, tuple(detections.scores.tolist()))


def _unique_name(path: Path, taken: set[str]) -> str:
    name, number = f"{path.stem}.jpg", 1
    while name in taken:
        number += 1
        name = f"{path.stem}-{number}.jpg"
    taken.add(name)
    return name


def _save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path, quality=DRAWN_QUALITY)

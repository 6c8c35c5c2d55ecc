"""Detections on images that a person names: drawn copies and COCO files."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from retinanet.cli.workspace import workspace_paths
from retinanet.drawing import draw_detections
from retinanet.errors import ImageError, WeightsError
from retinanet.export.runtimes import exported_runtime
from retinanet.files import write_json
from retinanet.images.reading import IMAGE_SUFFIXES, read_image
from retinanet.inference.detector import Detector
from retinanet.inference.results import coco_results

DRAWN_QUALITY = 92


def predict_images(detector: Detector, images: Sequence[Path], out: Path, min_score: float) -> int:
    """Write COCO files and a drawn copy of each image into `out`; the number of images that can't be read.

    detections.json is a COCO results file: rows of image_id, category_id, bbox xywh, score. images.json says which
    images and categories those are, as a COCO annotation file without annotations, and in `failed` which images
    were left out and why, which is also said on stderr.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows, results, failed = [], [], []
    names: set[str] = set()
    for number, path in enumerate(images, start=1):
        try:
            image = read_image(path)
        except ImageError as error:
            failed.append({"file_name": str(path), "error": str(error)})
            print(f"error: {error}", file=sys.stderr, flush=True)
            continue
        found = detector([image])[0].above(min_score)
        drawn = out / _free_name(path, names)
        _save(draw_detections(image, found, detector.class_names), drawn)
        rows.append({"id": number, "file_name": str(path), "width": image.shape[1], "height": image.shape[0]})
        results += coco_results(number, found, detector.category_ids)
        print(f"{path}: {_counted(found.labels, detector.class_names)}: {drawn}", flush=True)
    categories = [
        {"id": category_id, "name": name}
        for category_id, name in zip(detector.category_ids, detector.class_names, strict=True)
    ]
    write_json(out / "images.json", {"images": rows, "annotations": [], "categories": categories, "failed": failed})
    write_json(out / "detections.json", results)
    return len(failed)


def named_images(names: Sequence[str]) -> list[Path]:
    """The files that were named and those with an image's suffix in the folders. Raises ImageError for none."""
    paths = []
    for name in names:
        path = Path(name)
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise ImageError(f"{path}: a folder without images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        paths += inside
    return paths


@contextmanager
def model_path(name: str | None) -> Iterator[Path]:
    """The file of a model: a path, models:/NAME@ALIAS or models:/NAME/VERSION, or None for that of this workspace.

    Raises WeightsError or TrackingError when there is none.
    """
    if name is None:
        yield _own_model()
    elif name.startswith("models:/"):
        with _registered(name) as path:
            yield path
    else:
        yield Path(name)


def _own_model() -> Path:
    paths = workspace_paths()
    try:
        # It is what is served, and it opens without torch.
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


def _counted(labels: np.ndarray, class_names: Sequence[str]) -> str:
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return ", ".join(f"{count} {name}" for count, name in zip(counts, class_names, strict=True) if count) or "nothing"


def _free_name(path: Path, taken: set[str]) -> str:
    name, number = f"{path.stem}.jpg", 1
    while name in taken:
        number += 1
        name = f"{path.stem}-{number}.jpg"
    taken.add(name)
    return name


def _save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path, quality=DRAWN_QUALITY)

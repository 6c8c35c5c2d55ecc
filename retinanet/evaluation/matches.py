"""What COCO's evaluation decided about each detection, by independent unit, to compute AP again with other weights.

A unit is an image or, if several images are not independent (tiles of one image, images of one scene), all of them.
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import EvaluationError
from retinanet.evaluation.matching import RECALLS, Evaluation


@dataclass(frozen=True)
class Matches:
    """D detections matched to the objects of U units and K classes, at T IoU thresholds (usually COCO's 10).

    images (U,) and objects (U, K) int64 are numbers of images and of single objects. scores (D,) float64, labels (D,)
    and units (D,) int64, is_true (T, D) and is_ignored (T, D) bool are in pycocotools' order: class by class, best
    score first, equal scores in the order of the images. slices has a mask (U,) bool of the units of each slice, by its
    kind and part, see retinanet.evaluation.slices.
    """

    class_names: tuple[str, ...]
    images: np.ndarray
    objects: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    units: np.ndarray
    is_true: np.ndarray
    is_ignored: np.ndarray
    slices: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def of_class(self, label: int) -> slice:
        """The columns of the detections of a class."""
        first, end = np.searchsorted(self.labels, [label, label + 1]).tolist()
        return slice(first, end)

    def of_units(self, kept: np.ndarray) -> "Matches":
        """The matches of the units of a mask (U,)."""
        rows = kept[self.units]
        return Matches(
            self.class_names,
            self.images[kept],
            self.objects[kept],
            self.scores[rows],
            self.labels[rows],
            (np.cumsum(kept) - 1)[self.units[rows]],
            self.is_true[:, rows],
            self.is_ignored[:, rows],
            {name: mask[kept] for name, mask in self.slices.items()},
        )

    def save(self, path: Path) -> None:
        """Write an .npz file; the same matches give the same bytes."""
        content: dict[str, Any] = {
            "class_names": np.array(self.class_names),
            "images": self.images,
            "objects": self.objects,
        }
        content |= {"scores": self.scores, "labels": self.labels, "units": self.units}
        content |= {name: np.packbits(getattr(self, name), axis=1) for name in ("is_true", "is_ignored")}
        if self.slices:
            content["slices"] = np.array(list(self.slices))
            content["in_slices"] = np.packbits(list(self.slices.values()), axis=1)
        np.savez_compressed(path, allow_pickle=False, **content)


def read_matches(path: Path) -> Matches:
    """Read a file that Matches.save wrote. Raises EvaluationError."""
    try:
        with np.load(path) as content:
            bits = [np.unpackbits(content[name], axis=1) for name in ("is_true", "is_ignored")]
            arrays = [content[name] for name in ("images", "objects", "scores", "labels", "units")]
            names = tuple(content["class_names"].tolist())
            # A test set that is not divided has no slices.
            slices = content["slices"].tolist() if "slices" in content else []
            in_slices = np.unpackbits(content["in_slices"], axis=1) if slices else np.zeros((0, 0))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}); `dvc repro -f evaluate` writes it again") from error
    flags = [array[:, : len(arrays[2])].astype(bool) for array in bits]
    masks = [row[: len(arrays[0])].astype(bool) for row in in_slices]
    by_name = {(kind, part): mask for (kind, part), mask in zip(slices, masks, strict=True)}
    return replace(Matches(names, *arrays, *flags), slices=by_name)


def matches_of(
    evaluation: Evaluation, ground_truth: CocoDataset, slices: Mapping[tuple[str, str], np.ndarray] | None = None
) -> Matches:
    """The matches of an evaluation by retinanet.evaluation.coco_metrics.evaluate."""
    row_of = unit_rows(ground_truth)
    rows = np.array([row_of[image_id] for image_id in sorted(row_of)])  # of the evaluation's images
    units = rows.max() + 1
    objects = np.zeros((units, len(ground_truth.class_names)), np.int64)
    np.add.at(objects, rows, evaluation.object_counts)
    return Matches(
        ground_truth.class_names,
        np.bincount(rows, minlength=units),
        objects,
        evaluation.scores,
        evaluation.labels,
        rows[evaluation.images],
        evaluation.is_true,
        evaluation.is_ignored,
        slices or {},
    )


def is_same_test_set(a: Matches, b: Matches) -> bool:
    """Whether the matches are of the same units with the same numbers of objects, so that they can be paired."""
    same_units = a.images.tolist() == b.images.tolist() and a.objects.tolist() == b.objects.tolist()
    return same_units and a.class_names == b.class_names


def unit_rows(ground_truth: CocoDataset) -> dict[int, int]:
    """The row of each image's unit, by image id; units are numbered in the order of their first images."""
    rows: dict[str, int] = {}
    return {image.id: rows.setdefault(image.unit, len(rows)) for image in ground_truth.images}


def class_precisions(matches: Matches, label: int) -> np.ndarray:
    """(T, R) precision of a class at R = 101 recalls: pycocotools' eval["precision"]; NaN without objects."""
    objects = matches.objects[:, label].sum()
    precisions = np.full((len(matches.is_true), len(RECALLS)), 0.0 if objects else np.nan)
    curves = _curves(matches, label, np.ones((1, len(matches.images))))
    for t, (true_positives, precision) in enumerate(curves if objects else ()):
        reached = np.searchsorted(true_positives[0] / objects, RECALLS)
        found = reached < precision.shape[1]
        precisions[t, found] = precision[0, reached[found]]
    return precisions


def class_areas(matches: Matches, label: int, weights: np.ndarray) -> np.ndarray:
    """(N, T) area under the precision-recall curve of a class for N sets of weights (N, U) of the units.

    It is AP without the rounding of recall to 101 values, which jumps when a unit of weight 0 is left out. NaN without
    objects.
    """
    objects = weights @ matches.objects[:, label]
    areas = np.zeros((len(weights), len(matches.is_true)))
    for t, (true_positives, precision) in enumerate(_curves(matches, label, weights)):
        areas[:, t] = (np.diff(true_positives, axis=1, prepend=0) * precision).sum(axis=1)
    return np.divide(areas, objects[:, None], out=np.full_like(areas, np.nan), where=objects[:, None] > 0)


def _curves(matches: Matches, label: int, weights: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each IoU threshold, the weight of the true positives up to each (N, P), and the highest precision from it on.

    Precision rises only at true positives, so that the other detections have no entry.
    """
    columns = matches.of_class(label)
    by_detection = weights[:, matches.units[columns]]
    counted, ignored_before = by_detection, None
    for is_true, ignored in zip(matches.is_true[:, columns], matches.is_ignored[:, columns], strict=True):
        if ignored_before is None or (ignored != ignored_before).any():
            counted, ignored_before = np.cumsum(by_detection * ~ignored, axis=1), ignored
        true_positives, detections = np.cumsum(by_detection[:, is_true], axis=1), counted[:, is_true]
        precision = np.divide(true_positives, detections, out=np.zeros_like(detections), where=detections > 0)
        yield true_positives, np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]

"""The page of the test images on which two models disagree most."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.drawing import draw_detections, draw_objects, jpeg
from retinanet.errors import ImageError
from retinanet.evaluation.errors import IGNORED, TRUE_POSITIVE, match_detections
from retinanet.files import write_text
from retinanet.images.reading import read_image
from retinanet.inference.detections import Detections
from retinanet.pages.render import jpeg_url, render_page

MAX_IMAGES = 24


class Outcome(NamedTuple):
    """Numbers of a model's detections on an image: of objects found, of false positives, and of objects missed."""

    found: int
    false: int
    missed: int

    @property
    def f1(self) -> float:
        """F1 of the image; 1 if there is nothing to find and nothing is detected."""
        total = 2 * self.found + self.false + self.missed
        return 2 * self.found / total if total else 1.0


class Change(NamedTuple):
    """An image on which the outcomes of the old and the new model differ."""

    image: ImageInfo
    old: Outcome
    new: Outcome


def changes(dataset: CocoDataset, old: Mapping[int, Detections], new: Mapping[int, Detections]) -> list[Change]:
    """The images on which two models differ in F1, the largest losses first, then the smallest to the largest gains.

    old and new are the detections that count, by image id.
    """
    of_images = [
        Change(image, *(_outcome(found[image.id], dataset.objects[image.id]) for found in (old, new)))
        for image in dataset.images
    ]
    differing = [change for change in of_images if change.old.f1 != change.new.f1]
    return sorted(differing, key=lambda change: change.new.f1 - change.old.f1)


def write_page(
    path: Path,
    dataset: CocoDataset,
    old: Mapping[int, Detections],
    new: Mapping[int, Detections],
    names: tuple[str, str],
    facts: Mapping[str, str],
) -> tuple[int, int]:
    """Write the page and return how many images are worse and better. names are those of the old and the new model.

    Of the losses and of the gains, the largest MAX_IMAGES / 2 are shown.
    """
    differing = changes(dataset, old, new)
    worse = [change for change in differing if change.new.f1 < change.old.f1]
    better = differing[len(worse) :][::-1]
    titles = (f"Images on which {names[1]} is worse", f"Images on which {names[1]} is better")
    groups = [
        (title, len(found), [_shown(change, dataset, old, new) for change in found[: MAX_IMAGES // 2]])
        for title, found in zip(titles, (worse, better), strict=True)
    ]
    write_text(path, render_page("disagreements", facts=facts, names=names, groups=groups))
    return len(worse), len(better)


def _outcome(detections: Detections, objects: Objects) -> Outcome:
    matching = match_detections(detections, objects)
    found = matching.outcomes.count(TRUE_POSITIVE)
    ignored = matching.outcomes.count(IGNORED)
    return Outcome(found, len(detections) - found - ignored, len(matching.unmatched))


def _shown(
    change: Change, dataset: CocoDataset, old: Mapping[int, Detections], new: Mapping[int, Detections]
) -> dict[str, object]:
    image_id = change.image.id
    try:
        image = read_image(Path(change.image.file_name), dataset.reading)
        drawn = [draw_objects(image, dataset.objects[image_id], dataset.class_names)]
        drawn += [draw_detections(image, found[image_id], dataset.class_names) for found in (old, new)]
        panels = [jpeg_url(jpeg(panel)) for panel in drawn]
    except ImageError:
        panels = []  # moved or deleted since: the numbers still count
    return {"name": change.image.file_name, "outcomes": (change.old, change.new), "panels": panels}

"""Checks of images and boxes; every unusable one is skipped and reported."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite
from os import cpu_count
from typing import NamedTuple

from tqdm import tqdm

from retinanet.annotations.records import MIN_BOX_SIDE, Box, Finding, SourceImage, Xyxy
from retinanet.dataset.coco_file import is_text
from retinanet.errors import AnnotationError, ImageError, first_of
from retinanet.images.reading import ImageFacts, Reading, inspect_image


@dataclass(frozen=True)
class CheckedImage:
    """A readable image with boxes that lie inside it and have a positive size."""

    source: SourceImage
    facts: ImageFacts
    boxes: tuple[Box, ...]

    @property
    def name(self) -> str:
        """The path of the file with forward slashes."""
        return self.source.file.as_posix()


class Checked(NamedTuple):
    """The usable images, and findings; equal_boxes are further copies of a box of the same class, which are dropped."""

    images: list[CheckedImage]
    skipped_images: list[Finding]
    skipped_boxes: list[Finding]
    clipped_boxes: list[Finding]
    equal_boxes: list[Finding]


def check_all(images: list[SourceImage], reading: Reading) -> Checked:
    """Decode every image and check its boxes. The order of the images is kept."""
    checked = Checked([], [], [], [], [])
    # Decoding and hashing release the GIL.
    with ThreadPoolExecutor(cpu_count()) as pool:
        outcomes = pool.map(lambda image: _inspect(image, reading), images)
        for image, outcome in zip(images, tqdm(outcomes, "checking", len(images), disable=None), strict=True):
            if isinstance(outcome, str):
                checked.skipped_images.append(Finding(str(image.file), outcome))
                continue
            boxes, skipped, clipped = check_boxes(image, outcome.width, outcome.height)
            boxes, equal = _without_equal(image, boxes)
            checked.equal_boxes.extend(equal)
            checked.images.append(CheckedImage(image, outcome, boxes))
            checked.skipped_boxes.extend(skipped)
            checked.clipped_boxes.extend(clipped)
    return checked


def check_boxes(image: SourceImage, width: int, height: int) -> tuple[tuple[Box, ...], list[Finding], list[Finding]]:
    """The usable boxes, clipped to the image of width x height px; findings about skipped and about clipped boxes."""
    kept, skipped, clipped = [], [], []
    for box in image.boxes:
        left, top, right, bottom = box.xyxy
        inside = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        if not all(isfinite(side) for side in box.xyxy):
            reason = "is not finite"
        elif right - left < MIN_BOX_SIDE or bottom - top < MIN_BOX_SIDE:
            reason = "has no width or height"
        elif inside[2] - inside[0] < MIN_BOX_SIDE or inside[3] - inside[1] < MIN_BOX_SIDE:
            reason = f"lies outside the {width} x {height} image"
        else:
            if inside != box.xyxy:
                reason = f"{box.class_name} {_short(box.xyxy)} is clipped to the {width} x {height} image"
                clipped.append(Finding(str(image.file), reason, box.xyxy))
                box = box._replace(area=None)
            kept.append(box._replace(xyxy=inside))
            continue
        skipped.append(Finding(str(image.file), f"{box.class_name} {_short(box.xyxy)} {reason}", box.xyxy))
    return tuple(kept), skipped, clipped


def _without_equal(image: SourceImage, boxes: tuple[Box, ...]) -> tuple[tuple[Box, ...], list[Finding]]:
    """The boxes with only the first of those with the same class and corners, and a finding for each other one."""
    first: dict[tuple[str, Xyxy], Box] = {}
    equal = []
    for box in boxes:
        if first.setdefault((box.class_name, box.xyxy), box) is not box:
            reason = f"{box.class_name} {_short(box.xyxy)} occurs more than once; it counts once"
            equal.append(Finding(str(image.file), reason, box.xyxy))
    return tuple(first.values()), equal


def refuse_many_skipped(skipped: list[Finding], total: int, max_share: float) -> None:
    """Raise AnnotationError if more than max_share of `total` images were skipped."""
    if total and len(skipped) / total > max_share:
        examples = [f"{finding.file}: {finding.reason}" for finding in skipped]
        raise AnnotationError(
            f"{len(skipped)} of {total} images cannot be used, more than prepare.max_skipped = {max_share:g} allows: "
            f"{first_of(examples, 3, '; ')}"
        )


def _inspect(image: SourceImage, reading: Reading) -> ImageFacts | str:
    if not is_text(str(image.file)):
        return "has a name that is not UTF-8; rename it"
    try:
        facts = inspect_image(image.file, reading)
    except ImageError as error:
        return str(error).removeprefix(f"{image.file}: ")
    if image.size not in (None, (facts.width, facts.height)):
        annotated = f"{image.size[0]} x {image.size[1]}"
        rotated = ", rotated by its EXIF orientation," if "EXIF-rotated" in facts.traits else ""
        return f"is {facts.width} x {facts.height}{rotated} but annotated as {annotated}"
    return facts


def _short(xyxy: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{side:g}" for side in xyxy) + ")"

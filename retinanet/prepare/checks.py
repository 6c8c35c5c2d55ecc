"""Whether pictures and boxes can be used: what cannot is left out and named, never in silence."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite
from os import cpu_count
from typing import NamedTuple

from tqdm import tqdm

from retinanet.annotations.paths import is_text
from retinanet.annotations.records import LEAST_SIDE, AnnotatedPicture, Box, Finding
from retinanet.errors import AnnotationError, PictureError
from retinanet.images.reading import PictureFacts, inspect_picture


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that reads well, with boxes that lie inside it and have a size."""

    source: AnnotatedPicture
    facts: PictureFacts
    boxes: tuple[Box, ...]


class Checked(NamedTuple):
    pictures: list[CheckedPicture]
    skipped_pictures: list[Finding]
    skipped_boxes: list[Finding]
    clipped_boxes: list[Finding]


def check_all(pictures: list[AnnotatedPicture], max_pixels: int) -> Checked:
    """Decode every picture and check its boxes. Order is kept."""
    checked = Checked([], [], [], [])
    # Decoding and hashing leave Python's lock, so threads do.
    with ThreadPoolExecutor(cpu_count()) as pool:
        outcomes = pool.map(lambda picture: _inspect(picture, max_pixels), pictures)
        for picture, outcome in zip(pictures, tqdm(outcomes, "checking", len(pictures), disable=None), strict=True):
            if isinstance(outcome, str):
                checked.skipped_pictures.append(Finding(str(picture.file), outcome))
                continue
            boxes, skipped, clipped = check_boxes(picture, outcome.width, outcome.height)
            checked.pictures.append(CheckedPicture(picture, outcome, boxes))
            checked.skipped_boxes.extend(skipped)
            checked.clipped_boxes.extend(clipped)
    return checked


def check_boxes(
    picture: AnnotatedPicture, width: int, height: int
) -> tuple[tuple[Box, ...], list[Finding], list[Finding]]:
    """The usable boxes, clipped to the picture; those left out; and those that were clipped."""
    kept, skipped, clipped = [], [], []
    for box in picture.boxes:
        left, top, right, bottom = box.xyxy
        inside = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        if not all(isfinite(side) for side in box.xyxy):
            reason = "is not finite"
        elif right - left < LEAST_SIDE or bottom - top < LEAST_SIDE:
            reason = "has no width or height"
        elif inside[2] - inside[0] < LEAST_SIDE or inside[3] - inside[1] < LEAST_SIDE:
            reason = f"lies outside the {width} x {height} picture"
        else:
            if inside != box.xyxy:
                reason = f"{box.class_name} {_short(box.xyxy)} is clipped to the {width} x {height} picture"
                clipped.append(Finding(str(picture.file), reason, box.xyxy))
                box = box._replace(area=None)
            kept.append(box._replace(xyxy=inside))
            continue
        skipped.append(Finding(str(picture.file), f"{box.class_name} {_short(box.xyxy)} {reason}", box.xyxy))
    return tuple(kept), skipped, clipped


def refuse_many_skipped(skipped: list[Finding], total: int, max_share: float) -> None:
    """Raise AnnotationError when more than max_share of `total` pictures were left out."""
    if total and len(skipped) / total > max_share:
        examples = "; ".join(f"{one.file}: {one.reason}" for one in skipped[:3])
        raise AnnotationError(
            f"{len(skipped)} of {total} pictures cannot be used, more than prepare.max_skipped = {max_share:g} allows: "
            f"{examples}{' …' if len(skipped) > 3 else ''}"
        )


def _inspect(picture: AnnotatedPicture, max_pixels: int) -> PictureFacts | str:
    if not is_text(str(picture.file)):
        return "has a name that is no UTF-8; rename it"
    try:
        facts = inspect_picture(picture.file, max_pixels)
    except PictureError as error:
        return str(error).removeprefix(f"{picture.file}: ")
    if picture.size not in (None, (facts.width, facts.height)):
        annotated = f"{picture.size[0]} x {picture.size[1]}"
        turned = ", turned as its EXIF says," if "EXIF-rotated" in facts.traits else ""
        return f"is {facts.width} x {facts.height}{turned} but annotated as {annotated}"
    return facts


def _short(xyxy: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{side:g}" for side in xyxy) + ")"

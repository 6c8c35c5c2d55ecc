"""Whether pictures and boxes can be used: what cannot is left out and named, never in silence."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite
from os import cpu_count
from typing import NamedTuple

from tqdm import tqdm

from retinanet.data.annotated import AnnotatedPicture, Box, Skipped
from retinanet.data.images import PictureFacts, inspect_picture
from retinanet.errors import AnnotationError, PictureError


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that reads well, with boxes that lie inside it and have a size."""

    source: AnnotatedPicture
    facts: PictureFacts
    boxes: tuple[Box, ...]


class Checked(NamedTuple):
    pictures: list[CheckedPicture]
    skipped_pictures: list[Skipped]
    skipped_boxes: list[Skipped]
    clipped_boxes: int


def check_all(pictures: list[AnnotatedPicture], max_pixels: int) -> Checked:
    """Decode every picture and check its boxes. Order is kept."""
    checked = Checked([], [], [], 0)
    clipped = 0
    # Decoding and hashing leave Python's lock, so threads do.
    with ThreadPoolExecutor(cpu_count()) as pool:
        outcomes = pool.map(lambda picture: _inspect(picture, max_pixels), pictures)
        for picture, outcome in zip(pictures, tqdm(outcomes, "checking", len(pictures), disable=None), strict=True):
            if isinstance(outcome, str):
                checked.skipped_pictures.append(Skipped(str(picture.file), outcome))
                continue
            boxes, skipped, clipped_here = check_boxes(picture, outcome.width, outcome.height)
            checked.pictures.append(CheckedPicture(picture, outcome, boxes))
            checked.skipped_boxes.extend(skipped)
            clipped += clipped_here
    return checked._replace(clipped_boxes=clipped)


def check_boxes(picture: AnnotatedPicture, width: int, height: int) -> tuple[tuple[Box, ...], list[Skipped], int]:
    """The usable boxes, clipped to the picture; those left out; and how many were clipped."""
    kept, skipped, clipped = [], [], 0
    for box in picture.boxes:
        left, top, right, bottom = box.xyxy
        inside = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        if not all(isfinite(side) for side in box.xyxy):
            reason = "is not finite"
        elif right <= left or bottom <= top:
            reason = "has no width or height"
        elif inside[2] <= inside[0] or inside[3] <= inside[1]:
            reason = f"lies outside the {width} x {height} picture"
        else:
            was_clipped = inside != box.xyxy
            clipped += was_clipped
            kept.append(box._replace(xyxy=inside, area=None if was_clipped else box.area))
            continue
        skipped.append(Skipped(str(picture.file), f"{box.class_name} {_short(box.xyxy)} {reason}"))
    return tuple(kept), skipped, clipped


def refuse_many_skipped(skipped: list[Skipped], total: int, max_share: float) -> None:
    """Raise AnnotationError when more than max_share of `total` pictures were left out."""
    if total and len(skipped) / total > max_share:
        examples = "; ".join(f"{file}: {reason}" for file, reason in skipped[:3])
        raise AnnotationError(
            f"{len(skipped)} of {total} pictures cannot be used, more than prepare.max_skipped = {max_share:g} allows: "
            f"{examples}{' …' if len(skipped) > 3 else ''}"
        )


def same_bytes(pictures: Iterable[CheckedPicture]) -> list[list[CheckedPicture]]:
    """The groups of two or more pictures that are the same file under several names."""
    groups: dict[str, list[CheckedPicture]] = {}
    for picture in pictures:
        groups.setdefault(picture.facts.sha256, []).append(picture)
    return [group for group in groups.values() if len(group) > 1]


def refuse_leaks(pictures: Iterable[CheckedPicture]) -> None:
    """Raise AnnotationError naming the pictures that lie in two official splits under whatever name."""
    leaks = [group for group in same_bytes(pictures) if len({p.source.split for p in group} - {None}) > 1]
    if leaks:
        pairs = "; ".join(" = ".join(f"{p.source.file} ({p.source.split})" for p in group) for group in leaks[:5])
        raise AnnotationError(
            f"{len(leaks)} pictures are in two official splits: {pairs}{' …' if len(leaks) > 5 else ''}; "
            "remove each from one split"
        )


def _inspect(picture: AnnotatedPicture, max_pixels: int) -> PictureFacts | str:
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

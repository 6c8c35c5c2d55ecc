"""Warnings about data that is read, but probably not as its owner expects."""

from collections.abc import Iterable, Sequence

from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import Part

# Share of the objects that tiles may cut without a warning.
MAX_CUT_SHARE = 0.1


def fitting_white_level(images: Iterable[CheckedImage]) -> int | None:
    """The highest value of as many bits as the 16-bit images use, at least 8; None without 16-bit images."""
    brightest = [image.facts.brightest for image in images if image.facts.brightest is not None]
    return 2 ** max(8, max(brightest).bit_length()) - 1 if brightest else None


def exposure(images: Sequence[CheckedImage], white_level: int) -> list[str]:
    """A warning if the 16-bit images are read as nearly black, or if values above the white level are lost."""
    fitting = fitting_white_level(images)
    if fitting is None or white_level // 4 < fitting <= white_level:
        return []
    brightest = [image.facts.brightest for image in images if image.facts.brightest is not None]
    look = "nearly black" if fitting < white_level else "too bright in part"
    return [
        f"{len(brightest)} images are 16-bit with values up to {max(brightest)}, so they are {look} with "
        f"prepare.white_level = {white_level}; set it to {fitting}"
    ]


def cut_objects(parts: Sequence[Part], tile_size: int) -> list[str]:
    """A warning if more than MAX_CUT_SHARE of the objects are larger than half a tile."""
    images = {part.image.name: part.image for part in parts}
    cut = {part.image.name for part in parts if part.region is not None}
    objects = [(name, box) for name, image in images.items() for box in image.boxes if not box.iscrowd]
    large = sum(name in cut and max(box.width, box.height) > tile_size / 2 for name, box in objects)
    if not large or large <= MAX_CUT_SHARE * len(objects):
        return []
    return [
        f"{large} of {len(objects)} objects are larger than half a tile (prepare.tile_size is {tile_size}): tiles cut "
        "most of them, and what is left is ignored; raise prepare.tile_size, or set it to 0 to keep images whole"
    ]


def crowded_images(parts: Sequence[Part], max_detections: int) -> list[str]:
    """A warning if images, or tiles, have more objects than evaluation allows detections."""
    counts = [sum(not box.iscrowd for box in part.boxes) for part in parts]
    crowded = [count for count in counts if count > max_detections]
    if not crowded:
        return []
    return [
        f"{len(crowded)} images have more objects (up to {max(crowded)}) than evaluate.detections_per_image = "
        f"{max_detections} allows detections; raise it"
    ]

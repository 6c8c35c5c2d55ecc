"""Warnings about data that is read, but probably not as its owner expects."""

from collections.abc import Iterable, Sequence

from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import Part

# Share of the objects that tiles may cut without a warning.
MAX_CUT_SHARE = 0.1
# 16-bit images without a value above it use 14 bits or fewer.
MAX_OF_14_BITS = 2**14 - 1


def dark_images(images: Iterable[CheckedImage]) -> list[str]:
    """A warning if the 16-bit images have 12- or 14-bit values, which are read as nearly black."""
    brightest = [image.facts.brightest for image in images if image.facts.brightest is not None]
    if not brightest or max(brightest) > MAX_OF_14_BITS:
        return []
    bits = max(8, max(brightest).bit_length())
    return [
        f"{len(brightest)} images are 16-bit, but their brightest value is {max(brightest)}, so they are nearly black "
        f"when read as 8-bit; multiply their values by {2 ** (16 - bits)} and write them again"
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

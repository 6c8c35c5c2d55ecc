"""Choices that follow from the images and boxes alone."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from retinanet.config.fields import Orientation
from retinanet.config.settings import Params
from retinanet.data_report.coverage import THRESHOLDS, AnchorSettings
from retinanet.dataset.coco import CocoDataset
from retinanet.images.preprocess import InputSize
from retinanet.preflight.anchors import propose_anchors, proposed_settings
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import Part
from retinanet.prepare.warnings import exposure, fitting_white_level
from retinanet.recipe.choices import Choice

# Pixels of the network's input.
MIN_SIDE, MAX_SIDE = 384, 800
MULTIPLE = 32
# Small objects, those at this quantile of the sides, get the side of the smallest default anchor.
SMALL_QUANTILE, SMALL_SIDE = 0.1, 32
MAX_UPSCALING = 2.0
MAX_ASPECT = 2.0
# Images of more pixels than this are read faster from the cache of downscaled images.
MANY_PIXELS = 4_000_000
# Classes with fewer objects say nothing about orientation.
MIN_OBJECTS = 20
# Limits of an orientation-free class: the median of |log(height / width)|, and where the boxes' centers lie.
MAX_LOG_RATIO = 0.1
MAX_OFF_CENTER, MIN_SPREAD = 0.05, 0.2
DETECTION_MULTIPLE = 100


def input_sizes(images: Sequence[CheckedImage], tile_size: int) -> tuple[list[InputSize], str]:
    """Sizes to choose from, the largest first, and why no others; tile_size is 0 for whole images.

    The smallest size makes small objects as large as the smallest default anchor, and the largest one keeps the
    resolution of the images, both within MIN_SIDE and MAX_SIDE. No image is enlarged by more than MAX_UPSCALING.
    """
    widths_heights = [
        (min(tile_size, image.facts.width), min(tile_size, image.facts.height))
        if tile_size
        else (image.facts.width, image.facts.height)
        for image in images
    ]
    short = float(np.median([min(sides) for sides in widths_heights]))
    aspect = min(MAX_ASPECT, float(np.quantile([max(sides) / min(sides) for sides in widths_heights], 0.9)))
    objects = [box.side for image in images for box in image.boxes if not box.iscrowd]
    small = float(np.quantile(objects, SMALL_QUANTILE)) if objects else float(SMALL_SIDE)
    limit = min(MAX_SIDE, math.floor(short * MAX_UPSCALING / MULTIPLE) * MULTIPLE)
    needed = max(short * SMALL_SIDE / small, MIN_SIDE)
    smallest, largest = (min(limit, _rounded(side)) for side in (needed, max(short, needed)))
    sides = sorted({*range(largest, smallest - 1, -3 * MULTIPLE), smallest}, reverse=True)
    what = "tiles" if tile_size else "images"
    reason = f"{what} have a shorter side of {short:.0f} px, small objects {small:.0f} px"
    return [InputSize(side, _rounded(side * aspect)) for side in sides], reason


def guess_orientation(images: Sequence[CheckedImage]) -> tuple[Orientation, str]:
    """`any` if no class is typically tall or wide and the objects lie evenly from top to bottom, and the reason.

    Boxes at the image border are left out: they are cut.
    """
    log_ratios: dict[str, list[float]] = {}
    heights = []
    for image in images:
        for box in image.boxes:
            left, top, right, bottom = box.xyxy
            if box.iscrowd or left < 1 or top < 1 or right > image.facts.width - 1 or bottom > image.facts.height - 1:
                continue
            log_ratios.setdefault(box.class_name, []).append(math.log(box.height / box.width))
            heights.append((top + bottom) / 2 / image.facts.height)
    medians = {name: float(np.median(values)) for name, values in log_ratios.items() if len(values) >= MIN_OBJECTS}
    if not medians:
        return "upright", "too few objects to tell"
    name = max(medians, key=lambda name: abs(medians[name]))
    if abs(medians[name]) > MAX_LOG_RATIO:
        long, across = ("tall", "wide") if medians[name] > 0 else ("wide", "tall")
        ratio = math.exp(abs(medians[name]))
        return "upright", f"a typical {name} is {ratio:.1f} times as {long} as it is {across}"
    if abs(np.mean(heights) - 0.5) > MAX_OFF_CENTER or np.std(heights) < MIN_SPREAD:
        return "upright", "objects do not lie evenly from top to bottom"
    return "any", "no class is typically tall or wide, and objects lie evenly from top to bottom"


def orientation_choice(images: Sequence[CheckedImage], wished: Orientation | None) -> Choice:
    key = "train.augment.orientation"
    if wished:
        return Choice(key, wished, "as asked for")
    orientation, reason = guess_orientation(images)
    other = "upright" if orientation == "any" else "any"
    return Choice(key, orientation, f"a guess: {reason}; --orientation {other} decides otherwise")


def anchor_choices(params: Params, train: CocoDataset, input_size: InputSize) -> list[Choice]:
    """Fitted anchors if those of the params cover too few objects of a class of the training split."""
    proposal = propose_anchors(train, AnchorSettings(**params.model.anchors.grid()), input_size)
    covered, gained = (_least_covered(of) for of in (proposal.current_coverage, proposal.fitted_coverage))
    current = params.model.anchors.sizes
    if covered >= params.data_report.min_coverage:
        return [Choice("model.anchors.sizes", current, f"anchors cover at least {covered:.0%} of each class")]
    if proposal.fitted == proposal.current:
        return [Choice("model.anchors.sizes", current, f"anchors cover {covered:.0%} of a class; no others cover more")]
    reason = f"anchors cover {covered:.0%} of the objects of a class, these {gained:.0%}"
    return [Choice(key, value, reason) for key, value in proposed_settings(proposal).items()]


def crowded_choice(params: Params, parts: Sequence[Part]) -> list[Choice]:
    """More detections if images have more objects than detections are allowed."""
    most = max((sum(not box.iscrowd for box in part.boxes) for part in parts), default=0)
    if most <= params.evaluate.detections_per_image:
        return []
    needed = math.ceil(2 * most / DETECTION_MULTIPLE) * DETECTION_MULTIPLE
    return [Choice("evaluate.detections_per_image", needed, f"an image has {most} objects")]


def exposure_choice(params: Params, images: Sequence[CheckedImage]) -> list[Choice]:
    """The white level that fits the values of 16-bit images, if they use other bits than it allows."""
    if not exposure(images, params.prepare.white_level):
        return []
    brightest = max(image.facts.brightest or 0 for image in images)
    return [Choice("prepare.white_level", fitting_white_level(images), f"16-bit images have values up to {brightest}")]


def cache_choice(params: Params, images: Sequence[CheckedImage], tile_size: int) -> list[Choice]:
    """The cache of downscaled images for images of many megapixels that are not cut."""
    pixels = float(np.median([image.facts.width * image.facts.height for image in images]))
    if tile_size or pixels <= MANY_PIXELS or params.runtime.cache_images:
        return []
    return [Choice("runtime.cache_images", True, f"images of {pixels / 1e6:.0f} megapixels are slow to read")]


def _least_covered(coverage: Mapping[str, Mapping[str, float]]) -> float:
    """The smallest share, over the classes, of objects that an anchor covers."""
    return min((row[f"IoU {THRESHOLDS[0]}"] for row in coverage.values()), default=1.0)


def _rounded(side: float) -> int:
    return math.ceil(side / MULTIPLE) * MULTIPLE

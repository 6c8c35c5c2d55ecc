from pathlib import Path

import numpy as np
import pytest

from retinanet.annotations.records import Box, SourceImage
from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import ImageFacts
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import Part
from retinanet.recipe.choices import Choice
from retinanet.recipe.data_choices import (
    anchor_choices,
    cache_choice,
    crowded_choice,
    exposure_choice,
    guess_orientation,
    input_sizes,
    orientation_choice,
)


def image(
    width: int, height: int, *boxes: tuple[float, float, float, float], brightest: int | None = None
) -> CheckedImage:
    """An image with boxes of class `cat`; brightest is the highest value if it is 16-bit."""
    facts = ImageFacts(width, height, "0" * 64, (), brightest=brightest)
    return CheckedImage(SourceImage(Path("a.png"), ()), facts, tuple(Box("cat", box) for box in boxes))


def square(left: float, top: float, side: float) -> tuple[float, float, float, float]:
    return left, top, left + side, top + side


def test_photographs_with_large_objects_keep_their_resolution_or_less():
    """Objects of 128 px in images of 640 x 480: at 480 / 4 they would have 32 px, below the smallest size, 384."""
    sizes, reason = input_sizes([image(640, 480, square(9, 9, 128))] * 3, 0)
    assert sizes == [InputSize(480, 640), InputSize(384, 512)]
    assert reason == "images have a shorter side of 480 px, small objects 128 px"


def test_small_objects_need_a_larger_input_than_the_images():
    """Objects of 20 px in images of 400 px get 32 px at 640."""
    assert input_sizes([image(400, 400, square(9, 9, 20))], 0)[0] == [InputSize(640, 640)]


def test_images_are_not_enlarged_by_more_than_two_nor_above_the_largest_size():
    assert input_sizes([image(300, 300, square(9, 9, 2))], 0)[0] == [InputSize(576, 576)]
    assert input_sizes([image(64, 48, square(9, 9, 30))], 0)[0] == [InputSize(96, 128)]
    assert input_sizes([image(900, 900, square(9, 9, 2))], 0)[0] == [InputSize(800, 800)]


def test_tiles_count_instead_of_the_images_that_they_are_cut_from():
    sizes, reason = input_sizes([image(2300, 2400, square(9, 9, 25))], 400)
    assert sizes == [InputSize(512, 512)]
    assert reason == "tiles have a shorter side of 400 px, small objects 25 px"


def test_the_long_side_is_limited_for_panoramas():
    assert input_sizes([image(4000, 400, square(9, 9, 100))], 0)[0] == [InputSize(416, 832), InputSize(384, 768)]


def evenly_placed(width: float, height: float) -> list[CheckedImage]:
    """25 boxes of this size, in a grid of an image of 600 px."""
    centers = [(x, y) for x in range(60, 601, 120) for y in range(60, 601, 120)]
    boxes = [(x - width / 2, y - height / 2, x + width / 2, y + height / 2) for x, y in centers]
    return [image(600, 600, *boxes)]


def test_objects_without_a_typical_shape_or_place_have_any_orientation():
    assert guess_orientation(evenly_placed(50, 50)) == (
        "any",
        "no class is typically tall or wide, and objects lie evenly from top to bottom",
    )


def test_typically_tall_objects_are_upright():
    orientation, reason = guess_orientation(evenly_placed(40, 60))
    assert (orientation, reason) == ("upright", "a typical cat is 1.5 times as tall as it is wide")
    assert guess_orientation(evenly_placed(60, 40))[1] == "a typical cat is 1.5 times as wide as it is tall"


def test_objects_that_stand_on_the_ground_are_upright():
    standing = image(600, 600, *[square(20 * n + 2, 400, 50) for n in range(25)])
    assert guess_orientation([standing]) == ("upright", "objects do not lie evenly from top to bottom")


def test_boxes_at_the_border_and_few_objects_say_nothing_about_orientation():
    cut = image(600, 600, *[(0, 20 * n, 10, 20 * n + 60) for n in range(25)])
    assert guess_orientation([cut]) == ("upright", "too few objects to tell")
    assert guess_orientation([image(600, 600, square(9, 9, 50))] * 19) == ("upright", "too few objects to tell")


def test_a_wished_orientation_is_taken_and_a_guess_says_how_to_decide_otherwise():
    assert orientation_choice(evenly_placed(40, 60), "any") == Choice(
        "train.augment.orientation", "any", "as asked for"
    )
    guess = orientation_choice(evenly_placed(40, 60), None)
    assert guess.value == "upright" and guess.reason.endswith("; --orientation any decides otherwise")


def dataset(side: float) -> CocoDataset:
    """30 squares of this side, one in each image of 640 px."""
    boxes = np.array([[100, 100, 100 + side, 100 + side]], np.float32)
    objects = Objects(boxes, np.zeros(1, np.int64), np.zeros(1, bool), np.array([side * side], np.float32))
    images = tuple(ImageInfo(n, f"{n}.png", 640, 640) for n in range(1, 31))
    return CocoDataset(images, ("cat",), (1,), dict.fromkeys(range(1, 31), objects))


def test_anchors_that_reach_the_objects_are_kept():
    (choice,) = anchor_choices(load_params(), dataset(64), InputSize(640, 640))
    assert (choice.key, choice.value) == ("model.anchors.sizes", [32, 64, 128, 256, 512])
    assert choice.reason == "anchors cover at least 100% of each class"


def test_anchors_that_miss_small_objects_are_replaced():
    sizes, ratios = anchor_choices(load_params(), dataset(8), InputSize(640, 640))
    assert (sizes.key, ratios.key) == ("model.anchors.sizes", "model.anchors.ratios")
    assert isinstance(sizes.value, list) and sizes.value[0] < 12
    assert sizes.reason == "anchors cover 0% of the objects of a class, these 100%"


def test_more_objects_than_detections_raise_the_detections():
    params = load_params()
    crowded = image(600, 600, *[square(n, n, 5) for n in range(301)])
    parts = [Part(crowded, "train", crowded.boxes)]
    assert crowded_choice(params, parts) == [Choice("evaluate.detections_per_image", 700, "an image has 301 objects")]
    few = image(600, 600, square(9, 9, 5))
    assert crowded_choice(params, [Part(few, "train", few.boxes)]) == []


@pytest.mark.parametrize(("width", "tile_size", "cached"), [(4000, 0, True), (4000, 500, False), (800, 0, False)])
def test_large_photographs_are_cached(width, tile_size, cached):
    choices = cache_choice(load_params(), [image(width, width)], tile_size)
    assert [choice.key for choice in choices] == (["runtime.cache_images"] if cached else [])


def test_the_white_level_fits_12_bit_values():
    images = [image(64, 48, brightest=3900), image(64, 48, brightest=12)]
    reason = "16-bit images have values up to 3900"
    assert exposure_choice(load_params(), images) == [Choice("prepare.white_level", 4095, reason)]
    assert exposure_choice(load_params(), [image(64, 48, brightest=60_000)]) == []
    assert exposure_choice(load_params(), [image(64, 48)]) == []

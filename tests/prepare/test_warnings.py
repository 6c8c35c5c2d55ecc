from dataclasses import replace
from pathlib import Path

from retinanet.annotations.records import Box, SourceImage
from retinanet.images.reading import ImageFacts
from retinanet.images.tiles import Region
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import Part
from retinanet.prepare.warnings import crowded_images, cut_objects, exposure

SMALL, LARGE = Box("cat", (0.0, 0.0, 20.0, 20.0)), Box("cat", (0.0, 0.0, 60.0, 20.0))


def image(*boxes: Box, brightest: int | None = None) -> CheckedImage:
    facts = ImageFacts(200, 200, "", (), brightest=brightest)
    return CheckedImage(SourceImage(Path("a.png"), boxes), facts, boxes)


def test_12_bit_values_in_16_bit_files_are_reported():
    images = [image(brightest=4000), image(brightest=100), image()]
    (warning,) = exposure(images, 65_535)
    assert "2 images are 16-bit with values up to 4000, so they are nearly black" in warning
    assert "prepare.white_level = 65535; set it to 4095" in warning
    assert exposure(images, 4095) == []
    assert exposure([image(brightest=4000), image(brightest=40_000)], 65_535) == []
    assert exposure([image()], 65_535) == []


def test_values_above_the_white_level_are_reported():
    (warning,) = exposure([image(brightest=16_000)], 4095)
    assert "too bright in part with prepare.white_level = 4095; set it to 16383" in warning


def test_objects_larger_than_half_a_tile_are_reported():
    cut = [Part(image(SMALL, LARGE), "train", (), Region(0, 0, 100, 100))]
    (warning,) = cut_objects(cut, 100)
    assert "1 of 2 objects are larger than half a tile (prepare.tile_size is 100)" in warning
    assert cut_objects(cut, 120) == []
    assert cut_objects([replace(cut[0], region=None)], 100) == []


def test_a_few_large_objects_are_no_warning():
    parts = [Part(image(*[SMALL] * 19, LARGE), "train", (), Region(0, 0, 100, 100))]
    assert cut_objects(parts, 100) == []


def test_ignored_regions_are_not_counted():
    crowd = LARGE._replace(iscrowd=True)
    assert cut_objects([Part(image(crowd), "train", (), Region(0, 0, 100, 100))], 100) == []
    assert crowded_images([Part(image(), "train", (SMALL, crowd))], 1) == []


def test_images_with_more_objects_than_detections_are_reported():
    parts = [Part(image(), "train", (SMALL,) * count) for count in (3, 4, 5)]
    (warning,) = crowded_images(parts, 3)
    assert "2 images have more objects (up to 5) than evaluate.detections_per_image = 3" in warning
    assert crowded_images(parts, 5) == []

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retinanet.annotations.records import Box, Finding, SourceImage
from retinanet.errors import AnnotationError
from retinanet.images.reading import STANDARD_READING, Reading
from retinanet.prepare.checks import check_all, check_boxes, refuse_many_skipped

NAN, INF = float("nan"), float("inf")


def checked_box(*xyxy: float, area: float | None = None):
    return check_boxes(SourceImage(Path("a.png"), (Box("cat", xyxy, area=area),)), 64, 48)


@pytest.mark.parametrize("xyxy", [(0, 0, 64, 48), (10, 10, 64, 20), (0.5, 0.25, 1, 1)])
def test_boxes_inside_the_image_are_unchanged(xyxy):
    kept, skipped, clipped = checked_box(*xyxy, area=7.0)
    assert [(box.xyxy, box.area) for box in kept] == [(xyxy, 7.0)]
    assert (skipped, clipped) == ([], [])


def test_boxes_partly_outside_are_clipped_and_reported():
    kept, skipped, clipped = checked_box(-5, 40, 10, 60, area=7.0)
    assert [(box.xyxy, box.area) for box in kept] == [((0, 40, 10, 48), None)]
    assert clipped == [Finding("a.png", "cat (-5, 40, 10, 60) is clipped to the 64 x 48 image", (-5, 40, 10, 60))]
    assert skipped == []


@pytest.mark.parametrize(
    ("xyxy", "reason"),
    [
        ((5, 5, 5, 9), "has no width or height"),
        ((5, 5, 9, 5), "has no width or height"),
        ((9, 5, 5, 9), "has no width or height"),
        ((5, 5, 5.001, 9), "has no width or height"),
        ((NAN, 5, 9, 9), "is not finite"),
        ((5, 5, INF, 9), "is not finite"),
        ((70, 5, 80, 9), "lies outside the 64 x 48 image"),
        ((-9, 5, 0, 9), "lies outside the 64 x 48 image"),
        ((64, 5, 80, 9), "lies outside the 64 x 48 image"),
    ],
)
def test_unusable_boxes_are_skipped_with_a_reason(xyxy, reason):
    kept, skipped, clipped = checked_box(*xyxy)
    assert (kept, clipped) == ((), [])
    assert len(skipped) == 1 and skipped[0].file == "a.png" and skipped[0].reason.endswith(reason)


def test_check_all_keeps_the_order_and_reports_unusable_images(tmp_path):
    images = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((48, 64, 3), number, np.uint8)).save(path)
        images.append(SourceImage(path, (), size=(64, 48)))
    images[2].file.write_bytes(b"")
    images[4] = SourceImage(images[4].file, (), size=(48, 64))
    checked = check_all(images, Reading(max_pixels=64 * 48))
    assert [one.source.file.name for one in checked.images] == ["0.png", "1.png", "3.png", "5.png"]
    assert [(Path(one.file).name, one.reason) for one in checked.skipped_images] == [
        ("2.png", "has 0 bytes; expected JPEG, PNG, TIFF …"),
        ("4.png", "is 64 x 48 but annotated as 48 x 64"),
    ]
    assert len(check_all(images, Reading(max_pixels=64 * 48 - 1)).images) == 0


def test_a_file_name_that_is_not_utf8_is_skipped():
    checked = check_all([SourceImage(Path("\udcff.png"), ())], STANDARD_READING)
    assert checked.skipped_images[0].reason == "has a name that is not UTF-8; rename it"


def test_an_exif_rotated_image_annotated_before_rotation_is_skipped(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png", exif=exif)
    checked = check_all([SourceImage(tmp_path / "a.png", (), size=(64, 48))], STANDARD_READING)
    assert checked.skipped_images[0].reason == "is 48 x 64, rotated by its EXIF orientation, but annotated as 64 x 48"


def test_more_skipped_images_than_max_share_is_an_error():
    skipped = [Finding(f"{n}.png", "has 0 bytes") for n in range(5)]
    refuse_many_skipped(skipped, 100, 0.05)
    refuse_many_skipped([], 0, 0.0)
    with pytest.raises(AnnotationError, match=r"5 of 100 .*max_skipped = 0\.04 allows: 0\.png: has 0 bytes; .* …"):
        refuse_many_skipped(skipped, 100, 0.04)


def test_equal_boxes_count_once(tmp_path: Path):
    """Of the same class and corners, also if they are equal only after clipping."""
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "a.png")
    corners = [("cat", (1, 2, 30, 40)), ("cat", (1, 2, 30, 40)), ("dog", (1, 2, 30, 40)), ("cat", (1, 2, 64, 48))]
    boxes = tuple(Box(name, xyxy) for name, xyxy in [*corners, ("cat", (1, 2, 70, 50))])
    checked = check_all([SourceImage(tmp_path / "a.png", boxes)], STANDARD_READING)
    assert [(box.class_name, box.xyxy) for box in checked.images[0].boxes] == [corners[0], corners[2], corners[3]]
    assert [found.xyxy for found in checked.equal_boxes] == [(1, 2, 30, 40), (1, 2, 64, 48)]
    assert "cat (1, 2, 30, 40) occurs more than once; it counts once" in checked.equal_boxes[0].reason

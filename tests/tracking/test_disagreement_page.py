from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.scored_boxes import dataset

from retinanet.inference.detections import Detections
from retinanet.tracking.disagreement_page import Outcome, changes, write_page

BOX, ELSEWHERE = [10, 10, 60, 60], [100, 100, 160, 160]


def found(*boxes: list) -> Detections:
    """Detections of cats."""
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.full(count, 0.9, np.float32), np.zeros(count, np.int64)
    )


def test_the_largest_losses_come_first_and_equal_images_are_left_out():
    truth = dataset([(BOX, 0)], [(BOX, 0)], [(BOX, 0)], [])
    old = {1: found(BOX), 2: found(BOX), 3: found(), 4: found()}
    new = {1: found(BOX), 2: found(), 3: found(BOX), 4: found(ELSEWHERE)}
    ordered = changes(truth, old, new)
    assert [change.image.id for change in ordered] == [2, 4, 3]
    assert (ordered[0].old, ordered[0].new) == (Outcome(1, 0, 0), Outcome(0, 0, 1))
    assert (ordered[1].old, ordered[1].new) == (Outcome(0, 0, 0), Outcome(0, 1, 0))


@pytest.mark.parametrize(
    ("outcome", "f1"), [(Outcome(0, 0, 0), 1), (Outcome(3, 1, 1), 0.75), (Outcome(0, 2, 0), 0), (Outcome(0, 0, 2), 0)]
)
def test_f1_of_an_image(outcome, f1):
    assert outcome.f1 == f1


def test_detections_in_ignored_regions_are_neither_found_nor_false():
    truth = dataset([(BOX, 0), (ELSEWHERE, 0, True)])
    (change,) = changes(truth, {1: found(BOX, ELSEWHERE)}, {1: found(ELSEWHERE)})
    assert (change.old, change.new) == (Outcome(1, 0, 0), Outcome(0, 0, 1))


def test_the_page_shows_the_images_of_losses_and_gains(tmp_path):
    Image.new("RGB", (300, 300), (90, 120, 90)).save(tmp_path / "a.png")
    truth = dataset([(BOX, 0)], [(BOX, 0)])
    images = tuple(
        replace(image, file_name=str(tmp_path / name))
        for image, name in zip(truth.images, ("a.png", "gone.png"), strict=True)
    )
    truth = replace(truth, images=images)
    page = tmp_path / "page.html"
    counts = write_page(
        page,
        truth,
        {1: found(BOX), 2: found()},
        {1: found(), 2: found(BOX)},
        ("version 3", "version 4"),
        {"model": "<birds>"},
    )
    text = page.read_text(encoding="utf-8")
    assert counts == (1, 1)
    assert "Images on which version 4 is worse: 1" in text and "Images on which version 4 is better: 1" in text
    assert "version 3: F1 1.00, 1 found, 0 false, 0 missed" in text
    assert text.count("data:image/jpeg;base64,") == 3 and "gone.png" in text and "cannot be read any more" in text
    assert "&lt;birds&gt;" in text

import numpy as np
import pytest
from support.squares import make_squares

from retinanet.export.accuracy import measure_accuracy, read_images
from retinanet.inference.detections import Detections


def test_ap_of_a_detector_that_finds_all_or_half_of_the_objects(tmp_path, monkeypatch):
    squares = make_squares(tmp_path)
    monkeypatch.chdir(tmp_path)
    boxes = iter([objects.boxes_xyxy for objects in squares.objects.values()] * 2)

    def perfect(images):
        assert [image.shape for image in images] == [(96, 96, 3)]
        found = next(boxes)
        return [Detections(found, np.ones(len(found), np.float32), np.zeros(len(found), np.int64))]

    def of_odd_images(images):
        of_odd_images.calls += 1
        return perfect(images) if of_odd_images.calls % 2 else (next(boxes), [Detections.empty()])[1]

    of_odd_images.calls = 0
    both = [measure_accuracy(detector, squares) for detector in (perfect, of_odd_images)]
    # 4 of 7 squares: precision 1 up to a recall of 4 / 7, thus at 58 of 101 recalls.
    assert [found.ap for found in both] == pytest.approx([1, 58 / 101])
    change = both[1].gain(both[0])
    assert change.value == pytest.approx(58 / 101 - 1)
    assert "7 independent images" in change.reason


def test_images_are_read_in_their_order(tmp_path, monkeypatch):
    squares = make_squares(tmp_path)
    monkeypatch.chdir(tmp_path)
    first, last = read_images([squares.images[0], squares.images[-1]], squares.reading)
    assert first.max() == 250 and last.max() < 90  # only the last has no square

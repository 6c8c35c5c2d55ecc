import io

import numpy as np
import pytest
from PIL import Image
from support.prepare_workspace import pixels

from retinanet.data_report.thumbnails import sample, thumbnail
from retinanet.dataset.coco import Objects
from retinanet.drawing import COLORS

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def gray(tmp_path):
    Image.new("RGB", (400, 300), (90, 90, 90)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def colored(image: np.ndarray, color) -> np.ndarray:
    return np.abs(image - color).max(axis=2) < 60


def test_thumbnail_is_300_px_wide(gray):
    assert decoded(thumbnail(gray)).shape == (225, 300, 3)


@pytest.mark.parametrize(
    "xyxy",
    [(100, 100, 140, 130), (50, 50, 50, 50), (140, 130, 100, 100), (-20, -20, 30, 30), (399, 299, 399, 299)],
)
def test_thumbnail_of_a_box_shows_its_surroundings(gray, xyxy):
    image = decoded(thumbnail(gray, xyxy))
    assert max(image.shape) == 300
    assert colored(image, COLORS[2]).sum() > 15


@pytest.mark.parametrize("xyxy", [(NAN, 1, 2, 3), (1, 1, INF, 3), (500, 400, 600, 500), (-1e30, 0, 1e30, 9)])
def test_thumbnail_of_an_impossible_box_is_the_image(gray, xyxy):
    assert thumbnail(gray, xyxy)


@pytest.mark.parametrize("content", [b"", b"<html>", None])
def test_thumbnail_of_an_unreadable_file_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "b.png").write_bytes(content)
    assert thumbnail(tmp_path / "b.png") is None


def test_thumbnail_of_an_image_of_one_row(tmp_path):
    Image.fromarray(pixels(0, 3000, 1)).save(tmp_path / "a.png")
    assert decoded(thumbnail(tmp_path / "a.png", (5, 0, 1e308, 1))).shape[1] == 300


def test_sample_draws_classes_in_their_colors(gray):
    boxes = np.array([[20, 20, 120, 120], [200, 100, 390, 290]], np.float32)
    image = decoded(sample(gray, Objects(boxes, np.array([0, 1]), np.zeros(2, bool)), ("cat", "dog")))
    assert colored(image, COLORS[0]).any() and colored(image, COLORS[1]).any()
    assert not colored(image, COLORS[2]).any()

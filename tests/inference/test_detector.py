from dataclasses import replace

import numpy as np
import pytest
import torch

from retinanet.errors import WeightsError
from retinanet.images.tiles import Tiling
from retinanet.inference import detector as detector_module
from retinanet.inference.detections import Detections
from retinanet.inference.detector import DecodeSettings, Detector, load_detector, torch_detector
from retinanet.model.retinanet import RetinaNet


def detector_of(runtime) -> Detector:
    return Detector(runtime, ("a",), (1,), short_side=64, long_side=128, padding=(0, 0, 0))


def test_boxes_come_back_in_pixels_of_each_picture():
    def whole(pictures, sizes):
        """One detection as large as the picture inside its padding."""
        return [Detections(np.array([[0, 0, w, h]], np.float32), np.ones(1), np.zeros(1, int)) for h, w in sizes]

    shapes = [(32, 48), (128, 128), (30, 300), (32, 48)]
    found = detector_of(whole)([np.zeros((h, w, 3), np.uint8) for h, w in shapes])
    for (h, w), detections in zip(shapes, found, strict=True):
        np.testing.assert_allclose(detections.boxes_xyxy, [[0, 0, w, h]], rtol=1e-6)


def test_only_pictures_of_one_size_share_a_batch():
    seen = []

    def note(pictures, sizes):
        seen.append(pictures.shape)
        return [Detections.none()] * len(pictures)

    detector_of(note)([np.zeros((h, w, 3), np.uint8) for h, w in [(64, 64), (64, 100), (64, 64)]])
    assert seen == [(2, 96, 96, 3), (1, 96, 128, 3)]


def test_a_thin_picture_is_no_trouble_to_a_network_without_padding(small_settings):
    torch.manual_seed(0)
    model = RetinaNet(small_settings.model_copy(update={"backbone": "inception_v3"}), 1).eval()
    (found,) = torch_detector(model, ["square"], [1], DecodeSettings(score_threshold=0.0))(
        [np.zeros((10, 300, 3), np.uint8)]
    )
    assert len(found.scores)


def test_a_picture_has_the_same_detections_whatever_stands_beside_it(small_settings):
    torch.manual_seed(0)
    model = RetinaNet(small_settings, 2)
    torch.nn.init.normal_(model.classification.last.weight, std=0.3)
    detector = torch_detector(model, ("a", "b"), (1, 2), DecodeSettings())
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((60, 60), (90, 120)))
    alone, (together, _) = detector([small])[0], detector([small, large])
    assert len(alone) > 0
    np.testing.assert_array_equal(alone.boxes_xyxy, together.boxes_xyxy)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000)])
def test_odd_pictures_are_answered(small_settings, shape):
    detector = torch_detector(RetinaNet(small_settings, 1), ("a",), (1,), DecodeSettings())
    assert len(detector([np.zeros((*shape, 3), np.uint8)])) == 1


def test_no_pictures():
    assert detector_of(lambda pictures, sizes: [])([]) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [("m.pt", "a .safetensors or an .onnx"), ("m.onnx", "does not exist"), ("m.safetensors", "does not exist")],
)
def test_what_is_no_model(tmp_path, name, says):
    with pytest.raises(WeightsError, match=says):
        load_detector(tmp_path / name)


def test_a_file_that_is_no_onnx(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match=r"m\.onnx is no model"):
        load_detector(tmp_path / "m.onnx")


def test_a_large_picture_is_looked_at_in_the_tiles_that_the_network_knows():
    """A runtime that finds the white square, which lies whole in some of the six tiles and partly in others."""
    seen = []

    def squares(pictures, sizes):
        seen.append(pictures.shape)
        found = []
        for picture, (height, width) in zip(pictures, sizes, strict=True):
            rows, columns = np.nonzero(picture[:height, :width, 0] > 200)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else []
            ones = np.ones(len(box) // 4, np.float32)
            found.append(Detections(np.array(box, np.float32).reshape(-1, 4), ones, ones.astype(np.int64) * 0))
        return found

    picture = np.zeros((100, 160, 3), np.uint8)
    picture[40:60, 75:90] = 250
    detector = replace(detector_of(squares), short_side=96, long_side=96, tiling=Tiling(96, 0.5))
    (found,) = detector([picture])
    assert found.boxes_xyxy.tolist() == [[75, 40, 90, 60]]
    assert sum(shape[0] for shape in seen) == 6 and {shape[1:] for shape in seen} == {(96, 96, 3)}


def test_many_pictures_come_a_few_at_a_time(monkeypatch):
    sizes = []

    def note(pictures, of_pictures):
        sizes.append(len(pictures))
        return [Detections.none()] * len(pictures)

    monkeypatch.setattr(detector_module, "BATCH_PIXELS", 3 * 64 * 64)
    assert len(detector_of(note)([np.zeros((64, 64, 3), np.uint8)] * 8)) == 8
    assert sizes == [3, 3, 2]

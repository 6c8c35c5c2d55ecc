from dataclasses import replace

import numpy as np
import pytest
import torch
from support.squares import build_network

from retinanet.errors import WeightsError
from retinanet.export.runtimes import load_detector
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.inference import detector as detector_module
from retinanet.inference.detections import STANDARD_DECODING, Detections
from retinanet.inference.detector import Detector
from retinanet.inference.network import torch_detector
from retinanet.model.weights import TrainedModel


def detector_of(runtime) -> Detector:
    return Detector(runtime, ("a",), (1,), input_size=InputSize(64, 128), padding=(0, 0, 0))


def trained(model) -> TrainedModel:
    names = ("a", "b")[: model.num_classes]
    return TrainedModel(model, names, (1, 2)[: model.num_classes], InputSize(96, 128))


def test_boxes_come_back_in_pixels_of_each_image():
    def whole(images, sizes):
        """One detection as large as the image inside its padding."""
        return [Detections(np.array([[0, 0, w, h]], np.float32), np.ones(1), np.zeros(1, int)) for h, w in sizes]

    shapes = [(32, 48), (128, 128), (30, 300), (32, 48)]
    found = detector_of(whole)([np.zeros((h, w, 3), np.uint8) for h, w in shapes])
    for (h, w), detections in zip(shapes, found, strict=True):
        np.testing.assert_allclose(detections.boxes_xyxy, [[0, 0, w, h]], rtol=1e-6)


def test_only_images_of_one_size_share_a_batch():
    seen = []

    def note(images, sizes):
        seen.append(images.shape)
        return [Detections.none()] * len(images)

    detector_of(note)([np.zeros((h, w, 3), np.uint8) for h, w in [(64, 64), (64, 100), (64, 64)]])
    assert seen == [(2, 96, 96, 3), (1, 96, 128, 3)]


def test_a_thin_image_is_no_trouble_to_a_network_without_padding(small_settings):
    torch.manual_seed(0)
    model = build_network(small_settings.model_copy(update={"backbone": "inception_v3"}), 1).eval()
    settings = replace(STANDARD_DECODING, score_threshold=0.0)
    (found,) = torch_detector(trained(model), settings)([np.zeros((10, 300, 3), np.uint8)])
    assert len(found.scores)


def test_a_image_has_the_same_detections_whatever_stands_beside_it(small_settings):
    torch.manual_seed(0)
    model = build_network(small_settings, 2)
    torch.nn.init.normal_(model.classification.last.weight, std=0.3)
    detector = torch_detector(trained(model), STANDARD_DECODING)
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((60, 60), (90, 120)))
    alone, (together, _) = detector([small])[0], detector([small, large])
    assert len(alone) > 0
    np.testing.assert_array_equal(alone.boxes_xyxy, together.boxes_xyxy)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000)])
def test_odd_images_are_answered(small_settings, shape):
    detector = torch_detector(trained(build_network(small_settings, 1)), STANDARD_DECODING)
    assert len(detector([np.zeros((*shape, 3), np.uint8)])) == 1


def test_no_images():
    assert detector_of(lambda images, sizes: [])([]) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [("m.pt", "not a model file"), ("m.onnx", "does not exist"), ("m.safetensors", "does not exist")],
)
def test_what_is_no_model(tmp_path, name, says):
    with pytest.raises(WeightsError, match=says):
        load_detector(tmp_path / name)


def test_a_file_that_is_no_onnx(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match=r"m\.onnx is not a model that `dvc repro export` wrote"):
        load_detector(tmp_path / "m.onnx")


def test_a_large_image_is_looked_at_in_the_tiles_that_the_network_knows():
    """A runtime that finds the white square, which lies whole in some of the six tiles and partly in others."""
    seen = []

    def squares(images, sizes):
        seen.append(images.shape)
        found = []
        for image, (height, width) in zip(images, sizes, strict=True):
            rows, columns = np.nonzero(image[:height, :width, 0] > 200)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else []
            ones = np.ones(len(box) // 4, np.float32)
            found.append(Detections(np.array(box, np.float32).reshape(-1, 4), ones, ones.astype(np.int64) * 0))
        return found

    image = np.zeros((100, 160, 3), np.uint8)
    image[40:60, 75:90] = 250
    detector = replace(detector_of(squares), input_size=InputSize(96, 96), tiling=Tiling(96, 0.5))
    (found,) = detector([image])
    assert found.boxes_xyxy.tolist() == [[75, 40, 90, 60]]
    assert sum(shape[0] for shape in seen) == 6 and {shape[1:] for shape in seen} == {(96, 96, 3)}


def test_many_images_come_a_few_at_a_time(monkeypatch):
    sizes = []

    def note(images, of_images):
        sizes.append(len(images))
        return [Detections.none()] * len(images)

    monkeypatch.setattr(detector_module, "BATCH_PIXELS", 3 * 64 * 64)
    assert len(detector_of(note)([np.zeros((64, 64, 3), np.uint8)] * 8)) == 8
    assert sizes == [3, 3, 2]

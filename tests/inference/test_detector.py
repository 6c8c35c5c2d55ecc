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
    return Detector(runtime, ("a",), (1,), input_size=InputSize(64, 128), padding=(0, 0, 0), thresholds=(0.3,))


def trained(model) -> TrainedModel:
    names = ("a", "b")[: model.num_classes]
    return TrainedModel(model, names, (1, 2)[: model.num_classes], InputSize(96, 128))


def test_boxes_come_back_in_pixels_of_each_image():
    def full_image(images, sizes):
        """One detection that covers the image inside its padding."""
        return [Detections(np.array([[0, 0, w, h]], np.float32), np.ones(1), np.zeros(1, int)) for h, w in sizes]

    shapes = [(32, 48), (128, 128), (30, 300), (32, 48)]
    found = detector_of(full_image)([np.zeros((h, w, 3), np.uint8) for h, w in shapes])
    for (h, w), detections in zip(shapes, found, strict=True):
        np.testing.assert_allclose(detections.boxes_xyxy, [[0, 0, w, h]], rtol=1e-6)


def test_only_images_of_one_size_share_a_batch():
    seen = []

    def record(images, sizes):
        seen.append(images.shape)
        return [Detections.empty()] * len(images)

    detector_of(record)([np.zeros((h, w, 3), np.uint8) for h, w in [(64, 64), (64, 100), (64, 64)]])
    assert seen == [(2, 96, 96, 3), (1, 96, 128, 3)]


def test_a_thin_image_works_for_a_backbone_without_padding(small_settings):
    torch.manual_seed(0)
    model = build_network(small_settings.model_copy(update={"backbone": "inception_v3"}), 1).eval()
    settings = replace(STANDARD_DECODING, score_threshold=0.0)
    (found,) = torch_detector(trained(model), settings)([np.zeros((10, 300, 3), np.uint8)])
    assert len(found.scores)


def test_detections_do_not_depend_on_the_other_images(small_settings):
    torch.manual_seed(0)
    model = build_network(small_settings, 2)
    torch.nn.init.normal_(model.classification.last.weight, std=0.3)
    detector = torch_detector(trained(model), STANDARD_DECODING)
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((60, 60), (90, 120)))
    alone, (together, _) = detector([small])[0], detector([small, large])
    assert len(alone) > 0
    np.testing.assert_array_equal(alone.boxes_xyxy, together.boxes_xyxy)


def test_torch_detector_does_not_change_the_model_it_is_given(small_settings):
    model = build_network(small_settings, 1).train()
    detector = torch_detector(trained(model), STANDARD_DECODING)
    detector([np.zeros((60, 60, 3), np.uint8)])
    assert model.training
    kernel = next(p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1)
    assert kernel.is_contiguous() and not kernel.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000)])
def test_tiny_and_extreme_images_are_detected_on(small_settings, shape):
    detector = torch_detector(trained(build_network(small_settings, 1)), STANDARD_DECODING)
    assert len(detector([np.zeros((*shape, 3), np.uint8)])) == 1


def test_no_images_give_no_detections():
    assert detector_of(lambda images, sizes: [])([]) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("m.pt", "not a model file"), ("m.onnx", "does not exist"), ("m.safetensors", "does not exist")],
)
def test_load_detector_without_a_model_file_raises(tmp_path, name, message):
    with pytest.raises(WeightsError, match=message):
        load_detector(tmp_path / name)


def test_load_detector_of_a_damaged_onnx_file_raises(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match=r"m\.onnx was not written by `dvc repro export`"):
        load_detector(tmp_path / "m.onnx")


def test_a_large_image_is_cut_into_tiles_of_the_training_size():
    """The runtime finds a white square, which is complete in some of the six tiles and cut off in others."""
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


def test_batches_are_limited_by_pixels(monkeypatch):
    sizes = []

    def record(images, inside):
        sizes.append(len(images))
        return [Detections.empty()] * len(images)

    monkeypatch.setattr(detector_module, "MAX_BATCH_PIXELS", 3 * 64 * 64)
    assert len(detector_of(record)([np.zeros((64, 64, 3), np.uint8)] * 8)) == 8
    assert sizes == [3, 3, 2]

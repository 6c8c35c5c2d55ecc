from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.squares import build_network, small_network
from support.toy_onnx import write_toy_onnx

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects, write_coco
from retinanet.errors import EvaluationError, ImageError, WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.weights import TrainedModel, save_model
from retinanet.tracking.measured_file import file_side
from retinanet.tracking.sides import Split

SPLIT = Split(Path("test.json"), "today")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with toy.onnx and test.json: a cat in the middle half of 1.png, one in a corner of 2.png.

    The classes are in another order than the model's.
    """
    monkeypatch.chdir(tmp_path)
    write_split(("dog", "cat"), 1)
    write_toy_onnx(tmp_path / "toy.onnx")
    return tmp_path


def write_split(class_names: tuple[str, ...], label: int) -> None:
    images, objects = [], {}
    for number, cat in ((1, [16, 12, 48, 36]), (2, [0, 0, 8, 8])):
        Image.new("RGB", (64, 48)).save(f"{number}.png")
        images.append(ImageInfo(number, f"{number}.png", 64, 48))
        objects[number] = Objects(np.array([cat], np.float32), np.array([label]), np.array([False]))
    write_coco(CocoDataset(tuple(images), class_names, tuple(range(1, len(class_names) + 1)), objects), SPLIT.path)


def test_an_onnx_file_is_evaluated_on_the_test_split(folder):
    side = file_side(Path("toy.onnx"), SPLIT, STANDARD_DECODING, "AR1")
    # It detects a cat in the middle half of each image: right in the first, wrong in the second.
    assert side.value == pytest.approx(0.5)
    assert side.matches.is_true[0].tolist() == [True, False] and side.matches.labels.tolist() == [1, 1]
    results, thresholds = side.detections("today")
    assert [(row["image_id"], row["category_id"], row["bbox"]) for row in results] == [
        (1, 2, [16.0, 12.0, 32.0, 24.0]),
        (2, 2, [16.0, 12.0, 32.0, 24.0]),
    ]
    assert thresholds == {"cat": 0.3, "dog": 0.3} and side.detections("tomorrow") is None


def test_an_onnx_file_carries_settings(folder):
    facts = file_side(Path("toy.onnx"), SPLIT, STANDARD_DECODING, "AP50").facts
    assert facts["classes"] == "cat, dog" and facts["threshold of cat"] == "0.3"
    assert (facts["model.short_side"], facts["model.long_side"]) == ("64", "96")


def test_a_weights_file_carries_its_architecture_by_the_names_of_params(folder):
    model = build_network(small_network(), 2)
    save_model(Path("a.safetensors"), TrainedModel(model, ("dog", "cat"), (1, 2), InputSize(64, 64)))
    side = file_side(Path("a.safetensors"), SPLIT, STANDARD_DECODING, "AP50")
    assert side.facts["model.head_width"] == "64" and side.facts["model.anchors.scales_per_octave"] == "2"
    assert side.is_file and 0 <= side.value <= 1


def test_a_class_that_the_test_split_lacks_is_an_error(folder):
    write_split(("dog",), 0)
    with pytest.raises(EvaluationError, match=r"toy.onnx has classes that the test set lacks: cat; use a test set"):
        file_side(Path("toy.onnx"), SPLIT, STANDARD_DECODING, "AP50")


def test_a_damaged_file_or_image_is_an_error(folder):
    Path("damaged.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError, match=r"damaged.onnx was not written by"):
        file_side(Path("damaged.onnx"), SPLIT, STANDARD_DECODING, "AP50")
    Path("2.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"2\.png"):
        file_side(Path("toy.onnx"), SPLIT, STANDARD_DECODING, "AP50")

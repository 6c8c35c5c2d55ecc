import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from retinanet.data.coco import CocoDataset, Objects, Picture
from retinanet.detector import DecodeSettings
from retinanet.errors import TrainingError
from retinanet.model.retinanet import RetinaNet
from retinanet.params import load_params
from retinanet.training.fit import fit
from retinanet.training.validate import validate

CPU = torch.device("cpu")


@pytest.fixture
def squares(tmp_path) -> CocoDataset:
    """Eight grey pictures, all but the last with a white square of 40 px."""
    rng = np.random.default_rng(0)
    pictures, objects = [], {}
    for i in range(1, 9):
        canvas = rng.integers(60, 90, (96, 96, 3), np.uint8)
        x, y = rng.integers(0, 56, 2)
        count = int(i < 8)
        if count:
            canvas[y : y + 40, x : x + 40] = 250
        Image.fromarray(canvas).save(tmp_path / f"{i}.png")
        boxes = np.array([[x, y, x + 40, y + 40]] * count, np.float32).reshape(-1, 4)
        objects[i] = Objects(boxes, np.zeros(count, np.int64), np.zeros(count, bool))
        pictures.append(Picture(i, f"{i}.png", 96, 96))
    return CocoDataset(tuple(pictures), ("square",), (1,), objects)


def training(squares, root, small_settings, folder, **changed):
    settings = load_params().train.model_copy(
        update={"epochs": 3, "batch_size": 4, "workers": 0, "validate_every": 1, "ema_steps": 5} | changed
    )
    torch.manual_seed(0)
    model = RetinaNet(small_settings, 1)
    return fit(model, squares, squares, root, settings, DecodeSettings(), CPU, folder)


def test_it_learns_to_find_squares(squares, tmp_path, small_settings):
    epochs = list(training(squares, tmp_path, small_settings, tmp_path / "c", epochs=25, validate_every=25))
    assert [e.number for e in epochs] == list(range(1, 26))
    assert epochs[-1].metrics["train/loss"] < epochs[0].metrics["train/loss"] / 3
    assert epochs[-1].is_best and epochs[-1].metrics["val/AP50"] > 0.8


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_training_ends_with_the_same_weights(squares, tmp_path, small_settings, workers):
    unbroken = list(training(squares, tmp_path, small_settings, tmp_path / "a", workers=workers))
    for _ in itertools.islice(training(squares, tmp_path, small_settings, tmp_path / "b", workers=workers), 2):
        pass  # stopped in the second epoch's yield: its checkpoint is not written
    resumed = list(training(squares, tmp_path, small_settings, tmp_path / "b", workers=workers))
    assert [e.number for e in resumed] == [2, 3]
    for name, tensor in unbroken[-1].weights.items():
        assert torch.equal(tensor, resumed[-1].weights[name]), name
    assert {k: v for k, v in resumed[-1].metrics.items() if "second" not in k} == {
        k: v for k, v in unbroken[-1].metrics.items() if "second" not in k
    }


def test_a_loss_that_is_no_number_stops_and_names_the_pictures(squares, tmp_path, small_settings):
    settings = load_params().train.model_copy(update={"batch_size": 4, "workers": 0})
    model = RetinaNet(small_settings, 1)
    torch.nn.init.constant_(model.box.last.bias, torch.inf)
    with pytest.raises(TrainingError, match=r"step 0: the loss is (nan|inf).*on pictures \["):
        next(fit(model, squares, squares, tmp_path, settings, DecodeSettings(), CPU, tmp_path / "c"))


def test_validation_says_losses_and_boxes_in_pixels_of_the_picture(squares, tmp_path, small_settings):
    found = validate(RetinaNet(small_settings, 1), squares, tmp_path, DecodeSettings(0.0), CPU, workers=0)
    assert found.classification_loss > 0 and found.box_loss > 0
    assert {row["image_id"] for row in found.results} == set(range(1, 9))
    assert all(row["bbox"][0] + row["bbox"][2] <= 96.01 for row in found.results)

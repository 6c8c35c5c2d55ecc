import pytest
import torch
from squares import CPU, make_squares, short_training, small_network

from retinanet.data.coco import CocoDataset
from retinanet.errors import TrainingError
from retinanet.model.retinanet import RetinaNet
from retinanet.training.check import learn_by_heart, try_learning_rates


@pytest.fixture
def squares(tmp_path) -> CocoDataset:
    return make_squares(tmp_path)


def network() -> RetinaNet:
    torch.manual_seed(0)
    return RetinaNet(small_network(), 1)


def test_one_batch_is_learnt_by_heart(squares, tmp_path):
    settings = short_training(batch_size=2, learning_rate=0.003)
    found = learn_by_heart(network(), squares, tmp_path, settings, CPU, steps=40)
    assert found.pictures == ["1.png", "7.png"]  # the last, without an object, teaches nothing
    assert found.last_loss < found.first_loss / 3
    assert found.ap50 > 0.9


def test_pictures_without_objects_teach_nothing(squares, tmp_path):
    empty = squares.objects[8]
    nothing = CocoDataset(squares.pictures, ("square",), (1,), dict.fromkeys(squares.objects, empty))
    with pytest.raises(TrainingError, match="no training picture has an object"):
        learn_by_heart(network(), nothing, tmp_path, short_training(), CPU, steps=1)


def test_rates_rise_until_the_loss_blows_up(squares, tmp_path):
    found = try_learning_rates(network(), squares, tmp_path, short_training(optimizer="sgd"), CPU, steps=30)
    assert found.rates == sorted(found.rates) and found.rates[0] == pytest.approx(1e-6)
    assert len(found.losses) == len(found.rates)
    least = found.rates[found.losses.index(min(found.losses))]
    assert found.suggested == pytest.approx(least / 10)

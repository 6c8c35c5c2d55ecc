import pytest
import torch
from support.squares import (
    CPU,
    INPUT_SIZE,
    build_network,
    make_squares,
    short_runtime,
    short_training,
    small_network,
)

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import TrainingError
from retinanet.model.retinanet import RetinaNet
from retinanet.preflight import training as check
from retinanet.preflight.training import lr_range_test, overfit_batch
from retinanet.training.step import train_step


@pytest.fixture
def squares(tmp_path) -> CocoDataset:
    return make_squares(tmp_path)


def network(**changed) -> RetinaNet:
    torch.manual_seed(0)
    return build_network(small_network(**changed), 1)


def test_one_batch_is_learnt_by_heart(squares, tmp_path):
    settings = short_training(batch_size=2, learning_rate=0.003)
    found = overfit_batch(network(), squares, tmp_path, settings, short_runtime(), INPUT_SIZE, CPU, steps=40)
    assert found.images == ["1.png", "7.png"]  # the last, without an object, teaches nothing
    assert found.last_loss < found.first_loss / 3
    assert found.ap50 > 0.9


def test_images_without_objects_teach_nothing(squares, tmp_path):
    empty = squares.objects[8]
    nothing = CocoDataset(squares.images, ("square",), (1,), dict.fromkeys(squares.objects, empty))
    with pytest.raises(TrainingError, match="no training image has an object"):
        overfit_batch(network(), nothing, tmp_path, short_training(), short_runtime(), INPUT_SIZE, CPU, steps=1)


def test_rates_rise_until_the_loss_blows_up(squares, tmp_path):
    settings = short_training(optimizer="sgd", max_grad_norm=0.0, backbone_lr_multiplier=1.0)
    found = lr_range_test(
        network(frozen_norm=True), squares, tmp_path, settings, short_runtime(), INPUT_SIZE, CPU, steps=30
    )
    assert found.rates == sorted(found.rates) and found.rates[0] == pytest.approx(1e-6)
    assert len(found.losses) == len(found.rates) < 30
    assert found.suggested < found.rates[-1] / 10


def test_parts_and_processes_are_one_process_in_parts(squares, tmp_path):
    """As memory allows, and with the losses of the whole batch."""
    settings = short_training(batch_size=4)
    whole, micro_batches = (
        overfit_batch(
            network(frozen_norm=True), squares, tmp_path, settings, short_runtime(**split), INPUT_SIZE, CPU, steps=3
        )
        for split in ({}, {"accumulation_steps": 2, "processes": 2})
    )
    assert micro_batches.first_loss == pytest.approx(whole.first_loss, rel=1e-4)


def test_rates_are_those_of_the_settings_whatever_the_batch_makes_of_them(squares, tmp_path, monkeypatch):
    """With a rate for 16 images, a batch of 4 learns at a quarter of it."""
    used = []

    def noted(learner, micro_batches):
        used.append(learner.optimizer.param_groups[-1]["lr"])
        return train_step(learner, micro_batches)

    monkeypatch.setattr(check, "train_step", noted)
    settings = short_training(batch_size=4, reference_batch_size=16)
    found = lr_range_test(network(), squares, tmp_path, settings, short_runtime(), INPUT_SIZE, CPU, steps=3)
    assert used == pytest.approx([rate / 4 for rate in found.rates])


def test_a_loss_that_is_no_number_from_the_start_is_told(squares, tmp_path):
    broken = network()
    torch.nn.init.constant_(broken.box.last.bias, torch.inf)
    with pytest.raises(TrainingError, match="no number before anything is learned: loss inf"):
        lr_range_test(broken, squares, tmp_path, short_training(), short_runtime(), INPUT_SIZE, CPU, steps=3)

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


def test_overfit_batch_learns_the_batch(squares, tmp_path):
    settings = short_training(batch_size=2, learning_rate=0.003)
    result = overfit_batch(network(), squares, tmp_path, settings, short_runtime(), INPUT_SIZE, CPU, steps=40)
    assert result.images == ["1.png", "7.png"]  # the last image has no object
    assert result.last_loss < result.first_loss / 3
    assert result.ap50 > 0.9


def test_overfit_batch_without_objects_raises(squares, tmp_path):
    empty = squares.objects[8]
    without_objects = CocoDataset(squares.images, ("square",), (1,), dict.fromkeys(squares.objects, empty))
    with pytest.raises(TrainingError, match="no training image has an object"):
        overfit_batch(network(), without_objects, tmp_path, short_training(), short_runtime(), INPUT_SIZE, CPU, steps=1)


def test_lr_range_test_stops_when_the_loss_diverges(squares, tmp_path):
    settings = short_training(optimizer="sgd", max_grad_norm=0.0, backbone_lr_multiplier=1.0)
    result = lr_range_test(
        network(frozen_norm=True), squares, tmp_path, settings, short_runtime(), INPUT_SIZE, CPU, steps=30
    )
    assert result.rates == sorted(result.rates) and result.rates[0] == pytest.approx(1e-6)
    assert len(result.losses) == len(result.rates) < 30
    assert result.suggested < result.rates[-1] / 10


def test_overfit_batch_in_micro_batches_has_the_losses_of_the_batch(squares, tmp_path):
    settings = short_training(batch_size=4)
    whole, micro_batches = (
        overfit_batch(
            network(frozen_norm=True), squares, tmp_path, settings, short_runtime(**split), INPUT_SIZE, CPU, steps=3
        )
        for split in ({}, {"accumulation_steps": 2, "processes": 2})
    )
    assert micro_batches.first_loss == pytest.approx(whole.first_loss, rel=1e-4)


def test_lr_range_test_returns_rates_before_scaling_to_the_batch(squares, tmp_path, monkeypatch):
    """With a reference batch of 16, a batch of 4 is trained at a quarter of the rate."""
    used = []

    def recorded(learner, micro_batches):
        used.append(learner.optimizer.param_groups[-1]["lr"])
        return train_step(learner, micro_batches)

    monkeypatch.setattr(check, "train_step", recorded)
    settings = short_training(batch_size=4, reference_batch_size=16)
    result = lr_range_test(network(), squares, tmp_path, settings, short_runtime(), INPUT_SIZE, CPU, steps=3)
    assert used == pytest.approx([rate / 4 for rate in result.rates])


def test_lr_range_test_with_a_loss_that_is_not_finite_raises(squares, tmp_path):
    broken = network()
    torch.nn.init.constant_(broken.box.last.bias, torch.inf)
    with pytest.raises(TrainingError, match="not finite at the first step: loss inf"):
        lr_range_test(broken, squares, tmp_path, short_training(), short_runtime(), INPUT_SIZE, CPU, steps=3)

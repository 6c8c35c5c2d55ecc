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
from retinanet.preflight import training
from retinanet.preflight.training import OverfitResult, RangeTest, Trial, lr_range_test, overfit_batch
from retinanet.training.step import train_step


@pytest.fixture
def trial(tmp_path) -> Trial:
    squares = make_squares(tmp_path)
    return Trial(squares, tmp_path, short_training(), short_runtime(), INPUT_SIZE, CPU, steps=3)


def network(**changed) -> RetinaNet:
    torch.manual_seed(0)
    return build_network(small_network(**changed), 1)


def test_overfit_batch_learns_the_batch(trial):
    settings = short_training(batch_size=2, learning_rate=0.003)
    result = overfit_batch(network(), trial._replace(settings=settings, steps=40))
    assert result.images == ["1.png", "7.png"]  # the last image has no object
    assert result.last_loss < result.first_loss / 3
    assert result.ap50 > 0.9


def test_overfit_batch_without_objects_raises(trial):
    images, objects = trial.dataset.images, trial.dataset.objects
    without_objects = CocoDataset(images, ("square",), (1,), dict.fromkeys(objects, objects[8]))
    with pytest.raises(TrainingError, match="no training image has an object"):
        overfit_batch(network(), trial._replace(dataset=without_objects))


def test_lr_range_test_stops_when_the_loss_diverges(trial, monkeypatch):
    monkeypatch.setattr(training, "MAX_RATE", 100.0)
    settings = short_training(optimizer="sgd", max_grad_norm=0.0, backbone_lr_multiplier=1.0)
    result = lr_range_test(network(frozen_norm=True), trial._replace(settings=settings, steps=30))
    assert result.rates == sorted(result.rates) and result.rates[0] == pytest.approx(1e-6)
    assert len(result.losses) == len(result.rates) < 30
    assert result.suggested < result.rates[-1] / 10


@pytest.mark.parametrize("check", [overfit_batch, lr_range_test])
def test_micro_batches_have_the_losses_of_the_batch(trial, check):
    whole = trial._replace(settings=short_training(batch_size=4))
    divided = whole._replace(runtime=short_runtime(accumulation_steps=2, processes=2))
    whole_loss, divided_loss = (_first_loss(check(network(frozen_norm=True), t)) for t in (whole, divided))
    assert divided_loss == pytest.approx(whole_loss, rel=1e-4)


def test_lr_range_test_trains_on_the_batches_of_training(trial, monkeypatch):
    """More steps than the epoch has: the second epoch follows."""
    images = []
    monkeypatch.setattr(training, "train_step", lambda learner, batch: images.append(batch) or (torch.tensor(1.0),))
    lr_range_test(network(), trial._replace(settings=short_training(batch_size=4), steps=5))
    ids = [[image for micro_batch in batch for image in micro_batch.image_ids] for batch in images]
    assert [sorted(ids[2 * epoch] + ids[2 * epoch + 1]) for epoch in range(2)] == [list(range(1, 9))] * 2
    assert ids[0] != ids[2]


def test_lr_range_test_returns_rates_before_scaling_to_the_batch(trial, monkeypatch):
    """With a reference batch of 16, a batch of 4 is trained at a quarter of the rate."""
    used = []

    def recorded(learner, micro_batches):
        used.append(learner.optimizer.param_groups[-1]["lr"])
        return train_step(learner, micro_batches)

    monkeypatch.setattr(training, "train_step", recorded)
    result = lr_range_test(network(), trial._replace(settings=short_training(batch_size=4, reference_batch_size=16)))
    assert used == pytest.approx([rate / 4 for rate in result.rates])


def test_lr_range_test_with_a_loss_that_is_not_finite_raises(trial):
    broken = network()
    torch.nn.init.constant_(broken.box.last.bias, torch.inf)
    with pytest.raises(TrainingError, match="not finite at the first step: loss inf"):
        lr_range_test(broken, trial)


def _first_loss(result: OverfitResult | RangeTest) -> float:
    return result.first_loss if isinstance(result, OverfitResult) else result.losses[0]

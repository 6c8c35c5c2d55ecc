import itertools
import math
import signal

import pytest
import torch
from support.squares import (
    CPU,
    INPUT_SIZE,
    build_network,
    digest,
    fit_squares,
    make_squares,
    short_runtime,
    short_training,
)

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import TrainingError
from retinanet.training.fit import TrainingSets, fit
from retinanet.training.process import StopSignal
from retinanet.training.step import train_step


@pytest.fixture
def squares(tmp_path) -> CocoDataset:
    return make_squares(tmp_path)


def training(squares, root, small_settings, folder, stop=None, **changed):
    torch.manual_seed(0)
    model = build_network(small_settings, 1)
    return fit_squares(model, squares, root, folder, stop, **changed)


def test_fit_learns_to_find_squares(squares, tmp_path, small_settings):
    epochs = list(training(squares, tmp_path, small_settings, tmp_path / "c", epochs=25, validate_every=25))
    assert [e.number for e in epochs] == list(range(1, 26))
    assert epochs[-1].metrics["train/loss"] < epochs[0].metrics["train/loss"] / 3
    assert epochs[-1].is_best and epochs[-1].metrics["val/AP50"] > 0.8


@pytest.mark.parametrize("seed", [20261127, 2**64 + 1])
def test_fit_with_a_large_seed(squares, tmp_path, small_settings, seed):
    epochs = training(squares, tmp_path, small_settings, tmp_path / "c", seed=seed)
    assert next(epochs).metrics["train/loss"] > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_fit_after_an_interruption_ends_with_the_same_weights(squares, tmp_path, small_settings, workers):
    unbroken = list(training(squares, tmp_path, small_settings, tmp_path / "a", workers=workers))
    for _ in itertools.islice(training(squares, tmp_path, small_settings, tmp_path / "b", workers=workers), 2):
        pass  # stopped in the second epoch's yield: its checkpoint is not written
    resumed = list(training(squares, tmp_path, small_settings, tmp_path / "b", workers=workers))
    assert [e.number for e in resumed] == [2, 3]
    assert digest(resumed[-1]) == digest(unbroken[-1])
    assert {k: v for k, v in resumed[-1].metrics.items() if "second" not in k} == {
        k: v for k, v in unbroken[-1].metrics.items() if "second" not in k
    }


def test_fit_resumes_with_other_runtime_settings(squares, tmp_path, small_settings):
    def epochs(**runtime):
        torch.manual_seed(0)
        model = build_network(small_settings.model_copy(update={"frozen_norm": True}), 1)
        sets, settings = TrainingSets(squares, squares, tmp_path), short_training(optimizer="sgd", precision="fp32")
        return fit(model, sets, settings, short_runtime(**runtime), INPUT_SIZE, CPU, tmp_path / "c")

    for _ in itertools.islice(epochs(accumulation_steps=1, workers=0), 2):
        pass  # interrupted in the second epoch
    resumed = list(epochs(accumulation_steps=2, workers=1))
    assert [e.number for e in resumed] == [2, 3]
    assert resumed[-1].metrics["train/loss"] > 0


def test_fit_with_a_loss_that_is_not_finite_raises_and_keeps_the_step(squares, tmp_path, small_settings):
    model = build_network(small_settings, 1)
    torch.nn.init.constant_(model.box.last.bias, torch.inf)
    trained = fit_squares(model, squares, tmp_path, tmp_path / "c")
    with pytest.raises(TrainingError, match=r"epoch 1, step 0: loss (nan|inf).* on \d\.png, .*replay-step"):
        next(trained)
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["failed-step.pt"]


def test_fit_saves_on_a_signal_and_resumes_from_that_step(squares, tmp_path, small_settings, monkeypatch):
    unbroken = list(training(squares, tmp_path, small_settings, tmp_path / "a"))
    stop = StopSignal(())

    steps = itertools.count(1)

    def third_step(*arguments):
        stop.number = signal.SIGTERM if next(steps) == 3 else 0
        return train_step(*arguments)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("retinanet.training.fit.train_step", third_step)
        list(training(squares, tmp_path, small_settings, tmp_path / "b", stop))
    assert ended.value.code == 143
    # Two steps an epoch: the first of the second epoch is done.
    assert sorted(p.name for p in (tmp_path / "b").glob("*.pt")) == ["step-00000002.pt", "step-00000003.pt"]
    resumed = list(training(squares, tmp_path, small_settings, tmp_path / "b"))
    assert [e.number for e in resumed] == [2, 3]
    assert digest(resumed[-1]) == digest(unbroken[-1])
    assert resumed[0].metrics["train/loss"] == unbroken[1].metrics["train/loss"]


@pytest.mark.parametrize(
    ("aps", "is_best"),
    [
        ([0.5, 0.4, 0.3, 0.2], [True, False, False]),
        ([0.5, 0.5, 0.5, 0.6], [True, True, True]),  # the later of equals is kept, but is no improvement
        ([0.5, 0.4, 0.6, 0.5, 0.6, 0.7], [True, False, True, False, True]),
    ],
)
def test_fit_stops_after_validations_without_a_better_ap(squares, tmp_path, small_settings, monkeypatch, aps, is_best):
    results = iter(aps)
    monkeypatch.setattr("retinanet.training.fit.coco_metrics", lambda *_: {"AP": next(results)})
    epochs = list(training(squares, tmp_path, small_settings, tmp_path / "c", epochs=9, patience=2))
    assert [e.is_best for e in epochs] == is_best


def test_gradient_norm_of_an_epoch_is_the_mean_over_the_steps_that_were_not_skipped(
    squares, tmp_path, small_settings, monkeypatch
):
    """Two steps an epoch; the first epoch's first step and the second epoch's steps are skipped."""
    norms = iter([math.nan, 3.0, math.nan, math.nan, 1.0, 2.0])
    monkeypatch.setattr("retinanet.training.fit.train_step", lambda *_: torch.tensor([1.0, 1.0, 0.0, next(norms)]))
    epochs = list(training(squares, tmp_path, small_settings, tmp_path / "c"))
    assert [e.metrics.get("train/gradient_norm") for e in epochs] == [3.0, None, 1.5]
    assert [e.metrics["train/loss"] for e in epochs] == [1.0, 1.0, 1.0]

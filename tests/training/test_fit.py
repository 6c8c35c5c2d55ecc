import itertools
import signal

import pytest
import torch
from support.squares import build_network, digest, fit_squares, make_squares

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import TrainingError
from retinanet.training.process import StopSignal
from retinanet.training.step import train_step


@pytest.fixture
def squares(tmp_path) -> CocoDataset:
    return make_squares(tmp_path)


def training(squares, root, small_settings, folder, stop=None, **changed):
    torch.manual_seed(0)
    model = build_network(small_settings, 1)
    return fit_squares(model, squares, root, folder, stop, **changed)


def test_it_learns_to_find_squares(squares, tmp_path, small_settings):
    epochs = list(training(squares, tmp_path, small_settings, tmp_path / "c", epochs=25, validate_every=25))
    assert [e.number for e in epochs] == list(range(1, 26))
    assert epochs[-1].metrics["train/loss"] < epochs[0].metrics["train/loss"] / 3
    assert epochs[-1].is_best and epochs[-1].metrics["val/AP50"] > 0.8


def test_a_date_is_a_seed(squares, tmp_path, small_settings):
    trained = training(squares, tmp_path, small_settings, tmp_path / "c", seed=20261127)
    assert next(trained).metrics["train/loss"] > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_training_ends_with_the_same_weights(squares, tmp_path, small_settings, workers):
    unbroken = list(training(squares, tmp_path, small_settings, tmp_path / "a", workers=workers))
    for _ in itertools.islice(training(squares, tmp_path, small_settings, tmp_path / "b", workers=workers), 2):
        pass  # stopped in the second epoch's yield: its checkpoint is not written
    resumed = list(training(squares, tmp_path, small_settings, tmp_path / "b", workers=workers))
    assert [e.number for e in resumed] == [2, 3]
    assert digest(resumed[-1]) == digest(unbroken[-1])
    assert {k: v for k, v in resumed[-1].metrics.items() if "second" not in k} == {
        k: v for k, v in unbroken[-1].metrics.items() if "second" not in k
    }


def test_a_loss_that_is_no_number_stops_and_keeps_the_step(squares, tmp_path, small_settings):
    model = build_network(small_settings, 1)
    torch.nn.init.constant_(model.box.last.bias, torch.inf)
    trained = fit_squares(model, squares, tmp_path, tmp_path / "c")
    with pytest.raises(TrainingError, match=r"epoch 1, step 0: loss (nan|inf).* on \d\.png, .*replay-step"):
        next(trained)
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["failed-step.pt"]


def test_a_signal_saves_where_it_stands_and_the_next_goes_on_from_there(squares, tmp_path, small_settings, monkeypatch):
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


def test_training_that_no_longer_gains_stops_early(squares, tmp_path, small_settings, monkeypatch):
    falling = iter([0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr("retinanet.training.fit.coco_metrics", lambda *_: {"AP": next(falling)})
    epochs = list(training(squares, tmp_path, small_settings, tmp_path / "c", epochs=9, patience=2))
    assert [e.is_best for e in epochs] == [True, False, False]

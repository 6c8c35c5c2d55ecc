import pickle

import pytest
import torch
from test_step import batch, learner

from retinanet.errors import TrainingError
from retinanet.training.replay import keep_step, replay_step
from retinanet.training.step import explain_step


def test_a_kept_step_is_the_same_again(small_settings, tmp_path):
    broken = learner(small_settings)
    path = keep_step(tmp_path / "folder" / "failed-step.pt", broken, [batch()])
    pictures, blame = replay_step(path)
    assert pictures == [0, 1, 2, 3]
    assert blame.losses["P3"] == pytest.approx(explain_step(broken, [batch()]).losses["P3"])


def test_other_files_are_refused_and_nothing_in_them_runs(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    path = tmp_path / "failed-step.pt"
    path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(TrainingError, match="is no kept step"):
        replay_step(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(TrainingError, match="is no kept step"):
        replay_step(path)
    with pytest.raises(TrainingError, match="does not exist"):
        replay_step(tmp_path / "none.pt")
    assert not (tmp_path / "exploded").exists()

import pickle

import pytest
import torch
from support.steps import batch, learner

from retinanet.errors import TrainingError
from retinanet.training.replay import keep_step, replay_step
from retinanet.training.step import train_step


@pytest.mark.parametrize("normalizer", ["image", "moving"])
def test_replayed_step_has_the_losses_of_the_step(small_settings, tmp_path, normalizer):
    trained = learner(small_settings, normalizer=normalizer)
    train_step(trained, [batch()])
    path = keep_step(tmp_path / "folder" / "failed-step.pt", trained, [batch()])
    images, diagnosis = replay_step(path)
    assert images == [0, 1, 2, 3]
    _, classification, box, _ = train_step(trained, [batch()]).tolist()
    assert [sum(losses) for losses in zip(*diagnosis.losses.values(), strict=True)] == pytest.approx(
        [classification, box]
    )


def test_float16_step_is_replayed_without_a_gpu(small_settings, tmp_path):
    kept = learner(small_settings)
    kept.settings = kept.settings.model_copy(update={"precision": "fp16"})
    images, _ = replay_step(keep_step(tmp_path / "failed-step.pt", kept, [batch()]))
    assert images == [0, 1, 2, 3]


def test_replay_of_another_file_raises_and_executes_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    path = tmp_path / "failed-step.pt"
    path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(TrainingError, match="is not a saved step"):
        replay_step(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(TrainingError, match="is not a saved step"):
        replay_step(path)
    with pytest.raises(TrainingError, match="does not exist"):
        replay_step(tmp_path / "none.pt")
    assert not (tmp_path / "exploded").exists()

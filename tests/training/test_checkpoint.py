import errno
import os
import time

import pytest
import torch

from retinanet.errors import TrainingError
from retinanet.training.checkpoint import discard_old, fingerprint, load_checkpoint, lock_folder, save_checkpoint


def state(value: float) -> dict:
    return {"model": {"w": torch.tensor([value])}, "epoch": int(value)}


def test_the_newest_comes_back_and_two_are_kept(tmp_path):
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, epoch, state(epoch))
    assert load_checkpoint(tmp_path)["model"]["w"].item() == 3
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == ["step-00000002.pt", "step-00000003.pt"]


def test_none_to_begin_with(tmp_path):
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "no hash"])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path, capsys, damage):
    save_checkpoint(tmp_path, 1, state(1))
    save_checkpoint(tmp_path, 2, state(2))
    newest = tmp_path / "step-00000002.pt"
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    elif damage == "cut":
        newest.write_bytes(content[:-10])
    else:
        newest.with_suffix(".sha256").unlink()
    assert load_checkpoint(tmp_path)["epoch"] == 1
    assert "step-00000002.pt is damaged" in capsys.readouterr().out


def test_a_file_half_written_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, 1, state(1))
    (tmp_path / "step-00000002.part").write_bytes(b"half")
    assert load_checkpoint(tmp_path)["epoch"] == 1


def test_a_second_trainer_is_told(tmp_path):
    with lock_folder(tmp_path), pytest.raises(TrainingError, match="another training"):
        lock_folder(tmp_path, wait_s=0)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path, 1, state(1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        save_checkpoint(tmp_path, 2, state(2))
    assert "step-00000002.pt could not be saved" in capsys.readouterr().out
    assert load_checkpoint(tmp_path)["epoch"] == 1
    assert not list(tmp_path.glob("*.part"))


def test_what_others_left_is_told_and_after_a_week_discarded(tmp_path):
    for name in ("own", "left", "running"):
        save_checkpoint(tmp_path / name, 1, state(1))
    (tmp_path / "beginning").mkdir()
    last_week = time.time() - 8 * 86400
    for path in (*(tmp_path / "left").iterdir(), tmp_path / "left", tmp_path / "own"):
        os.utime(path, (last_week, last_week))
    assert discard_old(tmp_path / "own") == (["left"], ["running"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beginning", "own", "running"]


def test_fingerprint_is_the_same_in_a_copy_of_the_repository(tmp_path):
    for copy in ("here", "there"):
        (tmp_path / copy / "model").mkdir(parents=True)
        (tmp_path / copy / "model" / "heads.py").write_text("a")
    here, there = (fingerprint({}, [tmp_path / copy / "model" / "heads.py"], {}) for copy in ("here", "there"))
    assert here == there


def test_fingerprint_changes_with_settings_content_and_weights(tmp_path):
    path = tmp_path / "train.json"
    path.write_text("a")
    weights = state(1)["model"]
    one = fingerprint({"epochs": 3}, [path], weights)
    assert fingerprint({"epochs": 3}, [path], weights) == one
    assert fingerprint({"epochs": 4}, [path], weights) != one
    assert fingerprint({"epochs": 3}, [path], state(2)["model"]) != one
    path.write_text("b")
    assert fingerprint({"epochs": 3}, [path], weights) != one

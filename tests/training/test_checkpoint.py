import errno
import os
import time
from pathlib import Path

import pytest
import torch

from retinanet.errors import TrainingError
from retinanet.training.checkpoint import discard_old, load_checkpoint, lock_folder, save_checkpoint

DAY = 86400


def state(value: float) -> dict:
    return {"model": {"w": torch.tensor([value])}, "epoch": int(value)}


def age(folder: Path, days: float) -> None:
    """Set the modification times of the folder and its files back."""
    then = time.time() - days * DAY
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


def test_load_returns_the_newest_and_two_are_kept(tmp_path):
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, epoch, state(epoch))
    assert load_checkpoint(tmp_path)["model"]["w"].item() == 3
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == ["step-00000002.pt", "step-00000003.pt"]


def test_load_from_an_empty_folder_returns_none(tmp_path):
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "no hash"])
def test_load_skips_a_damaged_checkpoint(tmp_path, capsys, damage):
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


def test_load_ignores_an_incomplete_file(tmp_path):
    save_checkpoint(tmp_path, 1, state(1))
    (tmp_path / "step-00000002.part").write_bytes(b"half")
    assert load_checkpoint(tmp_path)["epoch"] == 1


def test_lock_of_a_folder_in_use_raises(tmp_path):
    with lock_folder(tmp_path), pytest.raises(TrainingError, match="another training"):
        lock_folder(tmp_path, wait_s=0)


def test_save_on_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path, 1, state(1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        save_checkpoint(tmp_path, 2, state(2))
    assert "step-00000002.pt could not be saved" in capsys.readouterr().out
    assert load_checkpoint(tmp_path)["epoch"] == 1
    assert not list(tmp_path.glob("*.part"))


def test_discard_old_removes_folders_after_a_week_and_lists_newer_checkpoints(tmp_path):
    for name in ("own", "old", "recent"):
        save_checkpoint(tmp_path / name, 1, state(1))
    (tmp_path / "beginning").mkdir()
    age(tmp_path / "old", days=8)
    age(tmp_path / "own", days=8)
    assert discard_old(tmp_path / "own") == (["old"], ["recent"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beginning", "own", "recent"]


def test_discard_old_removes_a_folder_with_only_a_failed_step(tmp_path):
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "failed-step.pt").touch()
    assert discard_old(tmp_path / "own") == ([], [])
    age(tmp_path / "failed", days=8)
    assert discard_old(tmp_path / "own") == (["failed"], [])
    assert not (tmp_path / "failed").exists()


def test_discard_old_skips_a_folder_that_is_locked(tmp_path):
    save_checkpoint(tmp_path / "running", 1, state(1))
    with lock_folder(tmp_path / "running"):
        age(tmp_path / "running", days=8)
        assert discard_old(tmp_path / "own") == ([], [])
    assert load_checkpoint(tmp_path / "running")["epoch"] == 1
    assert discard_old(tmp_path / "own") == (["running"], [])


def test_discard_old_tolerates_files_that_vanish(tmp_path, monkeypatch):
    """As when the training beside it saves a checkpoint, or finishes and removes its folder."""
    save_checkpoint(tmp_path / "running", 1, state(1))
    (tmp_path / "running" / "step-00000002.part").touch()
    stat = Path.stat

    def vanishing(path, **options):
        if path.suffix == ".part":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanishing)
    assert discard_old(tmp_path / "own") == ([], ["running"])

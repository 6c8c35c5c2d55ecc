import multiprocessing
import time
from itertools import pairwise

import pytest
import torch

from retinanet.training import turns
from retinanet.training.turns import Turns, cpu_turns

STEPS, STEP_S = 10, 0.02


def _train(folder, name, records) -> None:
    own = Turns(folder)
    for _ in range(STEPS):
        with own.take():
            records.put((name, "begin", time.monotonic()))
            time.sleep(STEP_S)
            records.put((name, "end", time.monotonic()))


def test_steps_of_two_trainings_alternate_and_never_overlap(tmp_path):
    context = multiprocessing.get_context("fork")
    records = context.Queue()
    trainings = [context.Process(target=_train, args=(tmp_path, name, records)) for name in "ab"]
    for training in trainings:
        training.start()
    seen = sorted((records.get(timeout=30) for _ in range(4 * STEPS)), key=lambda record: record[2])
    for training in trainings:
        training.join()
    assert [kind for _, kind, _ in seen] == ["begin", "end"] * (2 * STEPS)
    order = [name for name, kind, _ in seen if kind == "begin"]
    first = next(i for i in range(len(order)) if order[i] != order[0])
    last = max(i for i in range(len(order)) if order[i] != order[-1])
    both_run = order[first - 1 : last + 1]
    assert all(one != other for one, other in pairwise(both_run))


def test_a_suspended_training_holds_others_up_for_a_limited_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(turns, "MAX_WAIT_S", 0.2)
    suspended, other = Turns(tmp_path), Turns(tmp_path)
    with suspended.take():
        began = time.monotonic()
        with other.take():
            assert time.monotonic() - began < 2
    assert capsys.readouterr().out.count("their steps take turns") == 1


def test_a_training_that_is_alone_is_not_told_of_turns(tmp_path, capsys):
    own = Turns(tmp_path)
    for _ in range(3):
        with own.take():
            pass
    assert capsys.readouterr().out == ""


def test_training_goes_on_without_turns_if_the_folder_cannot_be_used(tmp_path, capsys):
    (tmp_path / "file").touch()
    turns_of_file = Turns(tmp_path / "file")
    for _ in range(2):
        with turns_of_file.take():
            pass
    assert capsys.readouterr().out.count("take no turns") == 1
    assert not turns_of_file.enabled


def test_a_link_in_the_shared_folder_does_not_empty_its_target(tmp_path):
    target = tmp_path / "target"
    target.write_text("content")
    (tmp_path / "now.lock").symlink_to(target)
    with Turns(tmp_path).take():
        pass
    assert target.read_text() == "content"


@pytest.mark.parametrize(("kind", "threads", "enabled"), [("cpu", 64, True), ("cpu", 1, False), ("cuda", 64, False)])
def test_turns_are_for_trainings_that_use_all_cores(monkeypatch, tmp_path, kind, threads, enabled):
    monkeypatch.setattr(turns.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(turns.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert cpu_turns(torch.device(kind)).enabled == enabled

from datetime import datetime

import pytest
from support.promoters import promote_in_rounds

from retinanet.tracking.history import (
    PROMOTE,
    ROLLBACK,
    Change,
    Entry,
    append,
    entries,
    moved_outside,
    productions,
    rolled_back,
)
from retinanet.tracking.registry import PREVIOUS, PRODUCTION, at_alias
from retinanet.tracking.store import open_client

MODEL = "retinanet"


def history(*changes: tuple[str, int, int]) -> list[Entry]:
    made = [Change(*change) for change in changes]
    return [Entry(n, change, "ann", datetime(2026, 1, n), True, f"key {n}") for n, change in enumerate(made, start=1)]


def test_append_and_entries_keep_who_when_why_and_the_gates_answer(make_version, monkeypatch):
    make_version()
    monkeypatch.setattr("retinanet.tracking.history.git_user", lambda: "Ann")
    monkeypatch.setattr("socket.gethostname", lambda: "lab-3")
    change = Change(PROMOTE, 0, 1, "first: 'good' & 50%", "better: version 1")
    written = append(open_client(), MODEL, 0, change)
    (read,) = entries(open_client(), MODEL)
    assert read == written
    assert (read.change, read.by, read.is_done) == (change, "Ann (lab-3)", False)
    assert abs((datetime.now() - read.at).total_seconds()) < 60


def test_of_two_entries_that_follow_the_same_one_the_first_counts(make_version):
    client, change = open_client(), Change(PROMOTE, 0, make_version())
    first = append(client, MODEL, 0, change)
    assert append(client, MODEL, 0, change._replace(reason="too late")) is None
    second = append(client, MODEL, first.number, change._replace(reason="later"))
    assert [entry.number for entry in entries(client, MODEL)] == [first.number, second.number]


def test_a_late_entry_that_its_promoter_did_not_remove_does_not_count(make_version, monkeypatch):
    client, change = open_client(), Change(PROMOTE, 0, make_version())
    monkeypatch.setattr(client, "delete_model_version", lambda name, version: None)  # it died
    first = append(client, MODEL, 0, change)
    assert append(client, MODEL, 0, change) is None
    third = append(client, MODEL, first.number, change)
    assert [entry.number for entry in entries(client, MODEL)] == [first.number, third.number]


def test_append_after_a_lost_answer_counts_once(make_version, monkeypatch):
    from mlflow.exceptions import MlflowException

    client, change = open_client(), Change(PROMOTE, 0, make_version())
    create, calls = client.create_model_version, []

    def create_and_lose_the_first_answer(*arguments, **options):
        version = create(*arguments, **options)
        calls.append(version)
        if len(calls) == 1:
            raise MlflowException("timeout")
        return version

    monkeypatch.setattr(client, "create_model_version", create_and_lose_the_first_answer)
    assert append(client, MODEL, 0, change).number == 1
    assert len(calls) == 2
    assert [entry.number for entry in entries(client, MODEL)] == [1]


def test_productions_are_a_stack_of_promotions_from_which_rollbacks_take():
    assert productions([]) == []
    assert productions(history((PROMOTE, 0, 1), (PROMOTE, 1, 2), (PROMOTE, 2, 3))) == [1, 2, 3]
    back = history((PROMOTE, 0, 1), (PROMOTE, 1, 2), (PROMOTE, 2, 3), (ROLLBACK, 3, 2))
    assert productions(back) == [1, 2]
    returned = history((PROMOTE, 0, 1), (PROMOTE, 1, 2), (PROMOTE, 2, 1))
    assert productions(returned) == [1, 2, 1]
    assert productions([*returned, *history((ROLLBACK, 1, 2))]) == [1, 2]


def test_productions_take_in_an_alias_that_was_moved_by_other_means():
    changes = history((PROMOTE, 0, 1), (PROMOTE, 1, 2))
    assert productions(changes, 7) == [1, 2, 7]
    assert productions(changes, 1) == [1]
    assert productions(history((PROMOTE, 5, 6))) == [5, 6]


def test_moved_outside_names_the_version_of_the_history():
    changes = history((PROMOTE, 0, 1), (PROMOTE, 1, 2), (ROLLBACK, 2, 1))
    assert moved_outside(changes, 1) == moved_outside(changes, 0) == moved_outside([], 0) == ""
    assert moved_outside(changes, 2).startswith(
        "put into production outside of the history, which has version 1; set back the alias"
    )
    assert "outside of the history, which is empty; delete the alias" in moved_outside([], 3)


def test_moved_outside_waits_for_a_change_that_is_not_done():
    done, last = history((PROMOTE, 0, 1), (PROMOTE, 1, 2))
    changes = [done, last._replace(is_done=False)]
    assert moved_outside(changes, 1) == moved_outside(changes, 2) == ""
    assert "which has version 2" in moved_outside(changes, 3)


def test_rolled_back_versions_are_those_that_were_not_promoted_again():
    changes = history((PROMOTE, 0, 1), (PROMOTE, 1, 2), (ROLLBACK, 2, 1))
    assert {version: entry.number for version, entry in rolled_back(changes).items()} == {2: 3}
    assert rolled_back([*changes, *history((PROMOTE, 1, 2))]) == {}


@pytest.mark.slow
def test_of_promoters_without_a_shared_lock_one_wins_each_round(make_version):
    """By hand with 8 promoters and 50 rounds; docs/tracking.md has the result."""
    promoters, rounds = 4, 4
    numbers = [make_version(0.5, f"digest {n}") for n in range(2 * promoters)]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    found = promote_in_rounds(MODEL, pairs, rounds)
    client = open_client()
    changes = [entry.change for entry in entries(client, MODEL)]
    assert [len(winners) for winners in found.winners] == [1] * rounds
    assert [change.version for change in changes] == [winner for (winner,) in found.winners]
    assert [change.before for change in changes] == [0, *(change.version for change in changes[:-1])]
    assert all("was put into production in the meantime by" in refusal for refusal in found.refusals)
    assert len(found.refusals) == rounds * (promoters - 1)
    assert (found.missing, found.lookups > rounds) == (0, True)
    assert int(at_alias(client, MODEL, PRODUCTION).version) == changes[-1].version
    assert int(at_alias(client, MODEL, PREVIOUS).version) == changes[-2].version

import pytest
from support.production import MODEL, in_production, previous

from retinanet.errors import TrackingError
from retinanet.tracking import promotion
from retinanet.tracking.comparison import Evaluated, Gate
from retinanet.tracking.history import PROMOTE, Change, append, entries
from retinanet.tracking.promotion import Decision, promote, rollback
from retinanet.tracking.registry import find_version, model_files
from retinanet.tracking.store import open_client

# The versions of most tests have no detections, so that their gains have no interval.
GATE = Gate("AP50", floor=0.3, accepts_undecided=True)


def changes():
    return [tuple(entry.change[:3]) for entry in entries(open_client(), MODEL)]


def test_promote_dry_run_changes_nothing(make_version):
    decision = promote(MODEL, make_version(), GATE, dry_run=True)
    assert decision.accepted
    assert "dry run" in decision.reason
    assert in_production() is None


def test_promote_of_the_version_in_production_is_accepted(make_version):
    version = make_version()
    promote(MODEL, version, GATE)
    assert promote(MODEL, version, GATE) == Decision(True, version, "version 1 is in production already")


def test_promote_refuses_if_the_alias_was_moved_in_the_pages_meanwhile(make_version):
    first, second = make_version(0.5), make_version(0.6)
    promote(MODEL, first, GATE)

    def measure(version):
        open_client().set_registered_model_alias(MODEL, "production", second)
        return Evaluated(0.1)

    decision = promote(MODEL, make_version(0.8, "tomorrow"), GATE, "tomorrow", measure)
    assert (decision.accepted, in_production()) == (False, second)
    assert "version 2 was put into production in the meantime" in decision.reason


def test_promote_refuses_if_another_machine_promoted_meanwhile(make_version):
    first, second = make_version(0.5), make_version(0.6)
    promote(MODEL, first, GATE)

    def measure(version):
        if in_production() == first:
            assert promote(MODEL, second, GATE).accepted
        return Evaluated(0.7)

    decision = promote(MODEL, make_version(0.8, "tomorrow"), GATE, "tomorrow", measure, force=True, reason="mine")
    assert (decision.accepted, in_production()) == (False, second)
    assert "version 2 was put into production in the meantime by " in decision.reason
    assert "; promote again" in decision.reason
    assert changes() == [("promote", 0, first), ("promote", first, second)]


def test_promote_moves_the_alias_for_a_promoter_that_died_before_it_could(make_version, monkeypatch):
    first, second, third = (make_version(value) for value in (0.5, 0.6, 0.7))
    promote(MODEL, first, GATE)
    append(open_client(), MODEL, 1, Change(PROMOTE, first, second))
    monkeypatch.setattr(promotion, "FINISH_S", 0.0)
    decision = promote(MODEL, third, GATE)
    assert decision.accepted and "version 2 in production 0.6000" in decision.reason
    assert (in_production(), previous()) == (third, second)
    assert all(entry.is_done for entry in entries(open_client(), MODEL))


def test_promote_waits_for_a_promoter_that_is_about_to_move_the_alias(make_version, monkeypatch):
    first, second, third = (make_version(value) for value in (0.5, 0.6, 0.7))
    promote(MODEL, first, GATE)
    append(open_client(), MODEL, 1, Change(PROMOTE, first, second))
    monkeypatch.setattr("time.sleep", lambda seconds: promotion._follow_history(open_client(), MODEL))
    assert "version 2 in production" in promote(MODEL, third, GATE).reason


def test_promote_of_a_version_with_changed_files_is_an_error(make_version):
    client, version = open_client(), make_version()
    with model_files(client, find_version(client, MODEL, version)) as folder:
        (folder / "served_model.py").write_text("print('mine')")
    with pytest.raises(TrackingError, match="changed or damaged"):
        promote(MODEL, version, GATE)
    assert in_production() is None


def test_rollback_restores_earlier_versions_one_by_one(make_version):
    one, two, three = (make_version(value) for value in (0.5, 0.6, 0.7))
    for version in (one, two, three):
        promote(MODEL, version, GATE)
    assert (in_production(), previous()) == (three, two)
    assert rollback(MODEL).version == two
    assert (in_production(), previous()) == (two, one)
    rollback(MODEL)
    assert (in_production(), previous()) == (one, None)
    with pytest.raises(TrackingError, match="no version was in production before version 1"):
        rollback(MODEL)


def test_rollback_without_production_or_to_a_deleted_version_is_an_error(make_version):
    with pytest.raises(TrackingError, match="no version in production"):
        rollback(MODEL)
    promote(MODEL, make_version(0.5), GATE)
    promote(MODEL, make_version(0.6), GATE)
    open_client().delete_model_version(MODEL, "1")
    with pytest.raises(TrackingError, match=r"version 1, .*no version 1.*promote --version N --force --reason TEXT"):
        rollback(MODEL)
    assert in_production() == 2


def test_every_change_is_recorded_with_reason_and_the_gates_answer(make_version):
    one, two = make_version(0.5), make_version(0.6)
    promote(MODEL, one, GATE, reason="first")
    promote(MODEL, two, GATE)
    rollback(MODEL, "misses small trees")
    promote(MODEL, two, GATE, dry_run=True, again=True, reason="not recorded")
    found = [entry.change for entry in entries(open_client(), MODEL)]
    assert changes() == [("promote", 0, one), ("promote", one, two), ("rollback", two, one)]
    assert [change.reason for change in found] == ["first", "", "misses small trees"]
    assert found[0].gate == "version 1 has AP50 0.5000, the floor is 0.3; no version was in production"
    assert "it gains +0.1000" in found[1].gate and found[2].gate == ""


def test_promote_refuses_a_version_that_was_rolled_back_until_again(make_version):
    one, two = make_version(0.5), make_version(0.6)
    promote(MODEL, one, GATE)
    promote(MODEL, two, GATE)
    rollback(MODEL, "misses small trees")
    for options in ({}, {"force": True, "reason": "why"}):
        refused = promote(MODEL, two, GATE, **options)
        assert (refused.accepted, in_production()) == (False, one)
        assert "version 2 was rolled back on " in refused.reason
        assert "because: misses small trees; `--again --reason TEXT`" in refused.reason
    assert promote(MODEL, two, GATE, again=True, reason="small trees do not matter here").accepted
    assert promote(MODEL, one, GATE, force=True, reason="back").accepted
    assert promote(MODEL, two, GATE).accepted


def test_force_overrides_the_comparison_and_the_floor_only(make_version):
    promote(MODEL, make_version(0.5), GATE)
    worse = make_version(0.2)
    decision = promote(MODEL, worse, GATE, force=True, reason="the only one for the new camera")
    assert (decision.accepted, in_production()) == (True, worse)
    assert decision.reason == "forced; the gate refuses: version 2 has AP50 0.2000, below the floor of 0.3"
    assert entries(open_client(), MODEL)[-1].change.gate == decision.reason
    failed = make_version(0.1)
    open_client().set_terminated(find_version(open_client(), MODEL, failed).run_id, "FAILED")
    assert not promote(MODEL, failed, GATE, force=True, reason="why").accepted
    changed, client = make_version(0.15), open_client()
    with model_files(client, find_version(client, MODEL, changed)) as folder:
        (folder / "served_model.py").write_text("print('mine')")
    with pytest.raises(TrackingError, match="changed or damaged"):
        promote(MODEL, changed, GATE, force=True, reason="why")
    assert in_production() == worse


def test_rollback_follows_the_history_and_not_the_numbers(make_version):
    one, two, three = (make_version(value) for value in (0.7, 0.5, 0.6))
    for version in (two, three, one):
        promote(MODEL, version, GATE)
    assert (in_production(), previous()) == (one, three)
    rollback(MODEL)
    assert promote(MODEL, one, GATE, again=True, reason="a mistake").accepted
    assert [rollback(MODEL).version for _ in range(2)] == [three, two]


def test_rollback_after_the_alias_was_moved_in_the_pages_returns_to_what_it_replaced(make_version):
    one, two = make_version(0.5), make_version(0.6)
    promote(MODEL, one, GATE)
    open_client().set_registered_model_alias(MODEL, "production", str(two))
    assert rollback(MODEL).version == one


def test_rollback_works_in_a_registry_that_was_made_before_the_history(make_version):
    one, two = make_version(0.5), make_version(0.6)
    open_client().set_registered_model_alias(MODEL, "production", str(two))
    open_client().set_registered_model_alias(MODEL, "previous", str(one))
    assert rollback(MODEL).version == one


def test_a_deleted_production_is_named_with_the_way_out(make_version):
    one, two, three = (make_version(value) for value in (0.5, 0.6, 0.7))
    promote(MODEL, one, GATE)
    promote(MODEL, two, GATE)
    open_client().delete_model_version(MODEL, str(two))
    refused = promote(MODEL, three, GATE)
    assert (refused.accepted, in_production()) == (False, None)
    assert refused.reason == (
        "version 2 was in production, and it or its alias was deleted; `retinanet rollback` puts version 1 back, "
        "`retinanet promote --version N --force --reason TEXT` promotes without a comparison"
    )
    assert rollback(MODEL).version == one
    assert promote(MODEL, three, GATE).accepted
    assert (in_production(), previous()) == (three, one)


def test_promote_restores_a_deleted_alias_and_compares_with_its_version(make_version):
    one, worse = make_version(0.5), make_version(0.4)
    promote(MODEL, one, GATE)
    open_client().delete_registered_model_alias(MODEL, "production")
    assert "not better" in promote(MODEL, worse, GATE).reason
    assert promote(MODEL, one, GATE).accepted
    assert in_production() == one


def test_promote_of_an_unknown_version_is_an_error(root):
    with pytest.raises(TrackingError, match="no version 7"):
        promote(MODEL, 7, GATE)

"""A version made again, and a lost store restored, on a small setting."""

import shutil

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workspace")]


def test_reproduce_of_a_version_gives_the_same_weights(workspace, tmp_path):
    assert "check out commit" in workspace.run("retinanet", "reproduce", "1", "--dry-run")
    before = workspace.counts()
    output = workspace.run("retinanet", "reproduce", "1", "--at", str(tmp_path / "again"))
    assert "reproduced: the weights are equal" in output
    for equal in ("weights: equal", "exported model: equal", "data/prepared: equal"):
        assert equal in output
    assert (tmp_path / "again" / "mlflow.db").exists()
    assert workspace.counts() == before
    shutil.rmtree(tmp_path / "again")
    workspace.run("git", "worktree", "prune")


def test_sync_restores_a_lost_store_and_repro_repeats_nothing(workspace):
    kept = {name: workspace.folder / name for name in ("mlflow.db", "mlartifacts")}
    for path in kept.values():
        path.rename(path.with_name(f"{path.name}.kept"))
    output = workspace.run("retinanet", "sync")
    assert "registered as retinanet version 1" in output
    assert workspace.counts() == (1, 1)
    assert "already" in workspace.run("retinanet", "sync")
    assert workspace.counts() == (1, 1)
    assert "up to date" in workspace.run("dvc", "repro")
    assert "verified" in workspace.run("retinanet", "verify", "1", "--unsigned")
    assert "accepted" in workspace.run("retinanet", "promote", "--dry-run")
    (workspace.folder / "mlflow.db").unlink()
    shutil.rmtree(workspace.folder / "mlartifacts")
    for path in kept.values():
        path.with_name(f"{path.name}.kept").rename(path)

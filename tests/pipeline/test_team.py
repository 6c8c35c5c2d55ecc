"""A colleague's clone on the team's DVC remote and tracking store; docs/team.md describes both."""

import subprocess

import pytest
from support.s3_server import BUCKET, s3_server
from support.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workspace")]


def test_clone_repeats_nothing_with_the_teams_remote_and_store(workspace, tmp_path):
    subprocess.run(["git", "clone", "-q", workspace.folder, tmp_path / "clone"], check=True)
    colleague, before = Workspace(tmp_path / "clone"), workspace.counts()
    colleague.env |= {"MLFLOW_TRACKING_URI": f"sqlite:///{workspace.folder}/mlflow.db"}
    configs = [clone.folder / ".dvc" / "config.local" for clone in (workspace, colleague)]
    for config in configs:
        config.write_text(f"[core]\n    remote = team\n['remote \"team\"']\n    url = s3://{BUCKET}/dvc\n")
    with s3_server(tmp_path) as s3:
        colleague.env |= s3
        workspace.run("env", *(f"{name}={value}" for name, value in s3.items()), "dvc", "push", "--run-cache")
        colleague.run("dvc", "pull", "--run-cache")
    configs[0].unlink()
    output = colleague.run("dvc", "repro")
    assert "Running stage" not in output and "up to date" in output
    colleague.run("retinanet", "sync")  # adds what stages of earlier tests that came from the run cache did not log
    assert "MLflow has this workspace's run and version already" in colleague.run("retinanet", "sync")
    assert workspace.counts() == before

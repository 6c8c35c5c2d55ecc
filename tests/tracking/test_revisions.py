import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from dvc.repo import Repo

from retinanet.errors import TrackingError
from retinanet.evaluation.intervals import metric_values
from retinanet.evaluation.matches import Matches
from retinanet.files import write_json
from retinanet.tracking.compared_names import named
from retinanet.tracking.differences import differences_text
from retinanet.tracking.revisions import revision_side, workspace_side
from stages import paths

OUTS = [paths.DETECTIONS, paths.METRICS, paths.MATCHES, paths.EVALUATION_DIGEST, paths.OPERATING_POINTS]


def run_evaluation(epochs: int, found: int) -> None:
    """Write what train and evaluate leave, for 40 images with a cat each, of which `found` are found."""
    Path("params.yaml").write_text(yaml.safe_dump({"train": {"epochs": epochs}, "evaluate": {"nms_iou": 0.5}}))
    for folder in (paths.EVALUATION, paths.TRAIN_REPORT):
        folder.mkdir(parents=True, exist_ok=True)
    images = np.arange(found)
    matches = Matches(
        ("cat",),
        np.ones(40, np.int64),
        np.ones((40, 1), np.int64),
        np.full(found, 0.5),
        np.zeros(found, np.int64),
        images,
        np.ones((10, found), bool),
        np.zeros((10, found), bool),
    )
    matches.save(paths.MATCHES)
    write_json(paths.METRICS, metric_values(matches))
    write_json(paths.DETECTIONS, [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": found / 40}])
    write_json(paths.EVALUATION_DIGEST, {"digest": "today"})
    paths.OPERATING_POINTS.write_text("class,threshold\ncat,0.25\n")
    provenance = {"git.commit": "1234567890", "dirty": "true"}
    record = {"params": {"train.epochs": epochs, "train.learning_rate": 0.01}, "datasets": [], "provenance": provenance}
    write_json(paths.TRAINING_RECORD, record)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """Two commits, tagged `first` and `second`, and the experiment `wider`; params.yaml was changed after it."""
    folder = tmp_path_factory.mktemp("revisions")
    stage = {
        "cmd": "true",
        "params": ["evaluate", "train"],
        "outs": [str(out) for out in [*OUTS, paths.TRAIN_REPORT]],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "-q")
        Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"evaluate": stage}}))
        with Repo.init() as repo:
            for tag, epochs, found in (("first", 3, 20), ("second", 5, 30)):
                run_evaluation(epochs, found)
                repo.commit(force=True)
                git("add", "-A")
                git("commit", "-qm", tag)
                git("tag", tag)
            run_evaluation(9, 35)
            repo.commit(force=True)
            repo.experiments.save(name="wider")
    return folder


@pytest.fixture
def in_repository(repository, monkeypatch) -> Path:
    monkeypatch.chdir(repository)
    return repository


def git(*arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, env=os.environ | identity)
    return done.stdout.strip()


def at(text: str):
    kind, commit, name = named(text, "retinanet")
    return revision_side(name, commit, paths, "AP50", kind == "exp")


def test_revisions_have_settings_and_metrics_from_the_cache(in_repository):
    lines = differences_text("retinanet", at("git:second"), at("first~0"), "AP50").splitlines()
    first, second = (git("rev-parse", name)[:7] for name in ("first", "second"))
    assert lines[0] == f"retinanet: first~0 ({first}) -> second ({second})"
    assert lines[2:4] == ["train.epochs: 3 -> 5", f"commit: {first} -> {second}"]
    (line,) = [line for line in lines if line.startswith("AP50/cat")]
    # 51 and 76 of the 101 recalls are reached
    assert line.startswith("AP50/cat: 0.5050 -> 0.7525, +0.2475 (95% interval +0.1")


def test_an_experiment_and_the_workspace(in_repository):
    experiment, workspace = at("exp:wider"), workspace_side(paths, "AP50")
    assert experiment.facts["train.epochs"] == workspace.facts["train.epochs"] == "9"
    assert workspace.name == "workspace" and workspace.facts["commit"] == "1234567, with uncommitted changes"
    assert experiment.value == workspace.value == pytest.approx(88 / 101)
    assert workspace.facts["evaluate.nms_iou"] == "0.5" and workspace.facts["train.learning_rate"] == "0.01"


def test_detections_are_those_of_the_evaluation_with_a_digest(in_repository):
    results, thresholds = at("git:first").detections("today")
    assert (results[0]["score"], thresholds) == (0.5, {"cat": 0.25})
    assert at("git:first").detections("tomorrow") is None


def test_changed_files_of_the_workspace_are_an_error(repository, tmp_path, monkeypatch):
    shutil.copytree(repository, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    paths.METRICS.unlink()
    paths.METRICS.write_text(json.dumps({"AP50": 1.0}))
    with pytest.raises(TrackingError, match=r"workspace: reports/evaluate/metrics.json is not what dvc.lock says; run"):
        workspace_side(paths, "AP50")


@pytest.mark.parametrize(("text", "fetch"), [("git:first", "dvc fetch --all-commits"), ("exp:wider", "dvc exp pull")])
def test_outputs_that_the_cache_lacks_are_an_error(repository, tmp_path, monkeypatch, text, fetch):
    shutil.copytree(repository, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    shutil.rmtree(".dvc/cache")
    with pytest.raises(TrackingError, match=f"reports/evaluate/metrics.json is not in DVC's cache; `{fetch}"):
        at(text)


def test_a_commit_without_a_finished_evaluation_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "empty")
    with pytest.raises(TrackingError, match=r"HEAD \(.{7}\): the commit has no dvc.lock; compare one that was made"):
        at("git:HEAD")
    Path("dvc.lock").write_text("schema: '2.0'\n")
    git("add", "-A")
    git("commit", "-qm", "no stages")
    with pytest.raises(TrackingError, match=r"HEAD \(.{7}\): dvc.lock: cannot be read"):
        at("git:HEAD")

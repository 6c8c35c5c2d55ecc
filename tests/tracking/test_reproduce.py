import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support.finished_pipeline import MODEL, run_stages

from retinanet.errors import TrackingError
from retinanet.files import sha256_of
from retinanet.tracking import reproduce
from retinanet.tracking.registry import register
from retinanet.tracking.reproduce import plan, read_recorded, reproduction
from retinanet.tracking.runs import start_run
from stages import paths


def imitate_stages(monkeypatch, weights: bytes = b"weights", **environment: str) -> None:
    """Put the files of this workspace into the worktree, with these weights, in place of running the stages."""

    def run(folder: Path, root: Path, recorded: object) -> None:
        for name in ("models", "reports", "data"):
            shutil.copytree(root / name, folder / name)
        shutil.copy(root / "dvc.lock", folder)
        (folder / paths.TRAINED).write_bytes(weights)
        record = json.loads(paths.TRAINING_RECORD.read_text())
        record["environment"] |= environment
        (folder / paths.TRAINING_RECORD).write_text(json.dumps(record))

    monkeypatch.setattr(reproduce, "run_stages", run)


def worktrees() -> list[str]:
    return subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_equal_weights_are_reproduced_and_the_worktree_is_removed(finished, monkeypatch):
    imitate_stages(monkeypatch)
    found = reproduction(read_recorded(MODEL, "1"), finished, None, paths)
    assert found.is_equal
    assert found.lines[0] == "reproduced: the weights are equal"
    for line in ("weights: equal", "exported model: equal", "data/raw: equal", "data/prepared: equal"):
        assert line in found.lines
    assert not [line for line in found.lines if "machine" in line]
    assert len(worktrees()) == 1


def test_other_weights_are_shown_with_metrics_and_what_differs_in_the_machine(finished, monkeypatch):
    imitate_stages(monkeypatch, b"other", processor="a new one")
    found = reproduction(read_recorded(MODEL, "1"), finished, None, paths)
    assert not found.is_equal
    assert found.lines[0] == "not reproduced: the weights differ; see the differences below"
    metric = json.loads(paths.METRICS.read_text())["AP50"]
    assert ["AP50", f"{metric:.4f}", f"{metric:.4f}"] in [line.split() for line in found.lines]
    assert found.lines[-1].startswith("processor: ") and found.lines[-1].endswith(" -> a new one")


def test_worktree_has_the_versions_params_and_is_kept_at_a_given_folder(finished, monkeypatch, tmp_path_factory):
    imitate_stages(monkeypatch)
    before = Path("params.yaml").read_text()
    Path("params.yaml").write_text(before.replace("floor: 0.3", "floor: 0.1"))
    folder = tmp_path_factory.mktemp("again") / "worktree"
    recorded = read_recorded(MODEL, "1")
    reproduction(recorded, finished, folder, paths)
    assert (folder / "params.yaml").read_text() == before
    assert len(worktrees()) == 2
    with pytest.raises(TrackingError, match="worktree: the folder has files; choose a new one"):
        reproduction(recorded, finished, folder, paths)


def test_version_of_an_experiment_is_made_with_its_params(finished, monkeypatch, tmp_path_factory):
    """`dvc exp run -S` changes params.yaml without a commit."""
    changed = Path("params.yaml").read_text().replace("seed: 0", "seed: 8")
    Path("params.yaml").write_text(changed)
    assert run_stages(b"of another seed") == 2
    subprocess.run(["git", "checkout", "-q", "params.yaml"], check=True)
    recorded = read_recorded(MODEL, "2")
    assert recorded.tags["dirty.files"] == "params.yaml"
    imitate_stages(monkeypatch, b"of another seed")
    folder = tmp_path_factory.mktemp("again") / "worktree"
    assert reproduction(recorded, finished, folder, paths).is_equal
    assert (folder / "params.yaml").read_text() == changed


def test_code_that_was_committed_later_is_used(finished, commit_all, monkeypatch, tmp_path_factory):
    Path("stages/new.py").write_text("# new")
    run_stages(b"of new code")
    with pytest.raises(TrackingError, match=r"uncommitted code \(stages/new\.py\), which neither commit"):
        reproduction(read_recorded(MODEL, "2"), finished, None, paths)
    assert len(worktrees()) == 1
    commit_all()
    imitate_stages(monkeypatch, b"of new code")
    folder = tmp_path_factory.mktemp("again") / "worktree"
    assert reproduction(read_recorded(MODEL, "2"), finished, folder, paths).is_equal
    assert (folder / "stages/new.py").exists()


def test_plan_names_commit_data_and_weights(finished):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout[:12]
    raw = yaml.safe_load(Path("dvc.lock").read_text())["stages"]["download"]["outs"][0]["md5"][:12]
    text = "\n".join(plan(read_recorded(MODEL, "1"), None))
    for expected in (commit, f"data/raw ({raw})", sha256_of(paths.TRAINED)[:12], "a temporary folder"):
        assert expected in text


def test_version_without_a_record_says_how_to_make_one(finished):
    with start_run("retinanet") as run:
        number = register(MODEL, run.id, paths.EXPORT, "0" * 64, {}, "e", ["cat"])
    with pytest.raises(TrackingError, match=r"version 2 has no params\.yaml in its record.*`dvc repro`"):
        read_recorded(MODEL, str(number))


def test_commit_of_another_clone_is_an_error_with_the_fix(finished):
    recorded = read_recorded(MODEL, "1")._replace(commit="1" * 40)
    with pytest.raises(TrackingError, match="a commit of another clone comes with `git fetch`"):
        reproduction(recorded, finished, None, paths)

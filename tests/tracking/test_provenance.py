import json
from pathlib import Path

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking import provenance
from retinanet.tracking.provenance import code_digest, evaluation_digest, provenance_tags, uncommitted


def test_provenance_tags_of_a_clean_tree(root):
    tags = provenance_tags()
    assert tags["dirty"] == "false"
    assert len(tags["git.commit"]) == 40
    assert tags["mlflow.source.git.commit"] == tags["git.commit"]


def test_uncommitted_lists_code_but_not_outputs(root):
    Path("reports.json").write_text("{}")
    assert uncommitted() == []
    Path("retinanet").mkdir()
    Path("retinanet/new.py").write_text("")
    Path("dvc.yaml").write_text("stages: {a: {cmd: b}}\n")
    tags = provenance_tags()
    assert tags["dirty"] == "true"
    assert tags["dirty.files"] == "dvc.yaml, retinanet/new.py"


def test_provenance_tags_outside_of_git_are_dirty(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance_tags(tmp_path)["git.commit"] == "none"
    assert provenance_tags(tmp_path)["dirty"] == "true"


@pytest.mark.parametrize("language", ["C", "de_DE.UTF-8"])
def test_provenance_of_a_repository_that_git_distrusts_is_an_error_with_the_fix(root, monkeypatch, language):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its tests
    monkeypatch.setenv("LC_ALL", language)
    for read in (provenance_tags, uncommitted):
        with pytest.raises(TrackingError, match=rf"^{root}: .* `git config --global --add safe\.directory {root}`$"):
            read()


def test_provenance_tags_name_the_dvc_experiment(root, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "fuzzy-owl")
    assert provenance_tags()["dvc.experiment"] == "fuzzy-owl"


def test_code_digest_ignores_params_that_do_not_change_the_model(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("train: {epochs: 3}\npromote: {floor: 0.1}\n")
    before = code_digest(tmp_path)
    params.write_text("train: {epochs: 3}\npromote: {floor: 0.2}\n")
    assert code_digest(tmp_path) == before
    params.write_text("train: {epochs: 4}\npromote: {floor: 0.2}\n")
    assert code_digest(tmp_path) != before


def test_evaluation_digest_depends_on_settings_test_images_and_protocol(tmp_path, monkeypatch):
    test, index = tmp_path / "test.json", tmp_path / "index.json"
    test.write_text(json.dumps({"images": [{"file_name": "a.png"}]}))
    index.write_text(json.dumps({"a.png": "1", "trained_on.png": "2"}))
    params = {"nms_iou": 0.5}
    first = evaluation_digest(params, test, index)
    assert evaluation_digest({"nms_iou": 0.6}, test, index) != first
    index.write_text(json.dumps({"a.png": "1", "trained_on.png": "3"}))
    assert evaluation_digest(params, test, index) == first
    index.write_text(json.dumps({"a.png": "9", "trained_on.png": "3"}))
    assert evaluation_digest(params, test, index) != first
    index.write_text(json.dumps({"a.png": "1"}))
    monkeypatch.setattr(provenance, "EVALUATION_PROTOCOL", provenance.EVALUATION_PROTOCOL + 1)
    assert evaluation_digest(params, test, index) != first

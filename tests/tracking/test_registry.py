from pathlib import Path

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking.registry import (
    at_alias,
    check_digest,
    find_version,
    metric_of,
    model_files,
    versions,
)
from retinanet.tracking.store import open_client

MODEL = "retinanet"


def test_a_version_has_its_figures_and_its_provenance_from_the_start(make_version):
    number = make_version(0.5, "today", metrics={"AP50": 0.5, "AP50/cat": 0.25})
    version = find_version(open_client(), MODEL, number)
    assert (number, version.status) == (1, "READY")
    assert (metric_of(version, "AP50"), metric_of(version, "AP50/cat"), metric_of(version, "AP")) == (0.5, 0.25, None)
    assert version.tags["evaluation.digest"] == "today"
    assert version.tags["dirty"] == "false"
    assert version.tags["classes"] == "cat, dog"


def test_the_same_model_is_one_version_whose_figures_stay(make_version):
    first = make_version(0.5, model_sha256="a" * 64)
    again = make_version(0.5, model_sha256="a" * 64, metrics={"AP50": 0.9})
    other = make_version(0.5, model_sha256="b" * 64)
    assert (first, again, other) == (1, 1, 2)
    assert metric_of(find_version(open_client(), MODEL, 1), "AP50") == 0.5
    assert [int(v.version) for v in versions(open_client(), MODEL)] == [2, 1]


def test_a_version_holds_files_only_and_pins_what_serves_it(make_version):
    client = open_client()
    with model_files(client, find_version(client, MODEL, make_version())) as folder:
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        requirements = (folder / "requirements.txt").read_text().split()
    assert {
        "MLmodel",
        "artifacts/exported/model.onnx",
        "served_model.py",
        "code/retinanet/inference/detector.py",
    } <= names
    assert not any(name.endswith((".pkl", ".pyc")) for name in names)
    assert [r.split("==")[0] for r in requirements] == [
        "mlflow",
        "numpy",
        "opencv-python-headless",
        "pandas",
        "pillow",
        "onnxruntime",
    ]


def test_weights_beside_the_model_are_in_the_version(make_version, toy_onnx):
    (toy_onnx() / "model.onnx.data").write_bytes(b"weights")
    client = open_client()
    with model_files(client, find_version(client, MODEL, make_version())) as folder:
        assert (folder / "artifacts" / "exported" / "model.onnx.data").read_bytes() == b"weights"
        assert (folder / "artifacts" / "exported" / "model.onnx").exists()


def test_changed_and_lost_files_are_told(make_version):
    client = open_client()
    version = find_version(client, MODEL, make_version())
    check_digest(client, version)
    with model_files(client, version) as folder:
        path = folder / "artifacts" / "exported" / "model.onnx"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(TrackingError, match="changed or damaged"):
            check_digest(client, version)
        for lost in sorted(folder.rglob("*"), reverse=True):
            lost.rmdir() if lost.is_dir() else lost.unlink()
        folder.rmdir()
    with pytest.raises(TrackingError, match=r"version 1.*dvc repro"):
        check_digest(client, version)


def test_what_is_not_there(root):
    client = open_client()
    assert versions(client, MODEL) == []
    assert at_alias(client, MODEL, "production") is None
    with pytest.raises(TrackingError, match="no version 3"):
        find_version(client, MODEL, 3)


def test_a_model_without_the_alias(make_version):
    make_version()
    assert at_alias(open_client(), MODEL, "production") is None


def test_a_version_is_made_in_this_store_from_dvcs_temporary_copy_too(
    make_version, root, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(tmp_path_factory.mktemp("copy"))
    assert make_version() == 1
    assert not Path("mlflow.db").exists()

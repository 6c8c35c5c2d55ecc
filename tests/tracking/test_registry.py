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


def test_register_stores_metrics_and_provenance_as_tags(make_version):
    number = make_version(0.5, "today", metrics={"AP50": 0.5, "AP50/cat": 0.25})
    version = find_version(open_client(), MODEL, number)
    assert (number, version.status) == (1, "READY")
    assert (metric_of(version, "AP50"), metric_of(version, "AP50/cat"), metric_of(version, "AP")) == (0.5, 0.25, None)
    assert version.tags["evaluation.digest"] == "today"
    assert version.tags["dirty"] == "false"
    assert version.tags["classes"] == "cat, dog"


@pytest.mark.parametrize("name", ["R&D", "C++", "50%", "Bär, rot", "a/b", "{x}: 'y'"])
def test_class_names_of_any_characters_are_registered(make_version, name):
    version = find_version(open_client(), MODEL, make_version(metrics={"AP50": 0.5, f"AP50/{name}": 0.25}))
    assert metric_of(version, f"AP50/{name}") == 0.25


def test_register_of_the_same_model_returns_its_version_and_keeps_its_metrics(make_version):
    first = make_version(0.5, model_sha256="a" * 64)
    again = make_version(0.5, model_sha256="a" * 64, metrics={"AP50": 0.9})
    other = make_version(0.5, model_sha256="b" * 64)
    assert (first, again, other) == (1, 1, 2)
    assert metric_of(find_version(open_client(), MODEL, 1), "AP50") == 0.5
    assert [int(v.version) for v in versions(open_client(), MODEL)] == [2, 1]


def test_version_has_no_pickles_and_pins_its_requirements(make_version):
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


def test_version_includes_files_beside_the_exported_model(make_version, toy_onnx):
    (toy_onnx() / "model.onnx.data").write_bytes(b"weights")
    client = open_client()
    with model_files(client, find_version(client, MODEL, make_version())) as folder:
        assert (folder / "artifacts" / "exported" / "model.onnx.data").read_bytes() == b"weights"
        assert (folder / "artifacts" / "exported" / "model.onnx").exists()


def test_check_digest_of_changed_or_lost_files_is_an_error(make_version):
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


def test_empty_registry_has_no_versions_and_no_aliases(root):
    client = open_client()
    assert versions(client, MODEL) == []
    assert at_alias(client, MODEL, "production") is None
    with pytest.raises(TrackingError, match="no version 3"):
        find_version(client, MODEL, 3)


def test_at_alias_without_the_alias_is_none(make_version):
    make_version()
    assert at_alias(open_client(), MODEL, "production") is None


def test_register_from_a_temporary_copy_of_dvc_uses_the_repositorys_store(
    make_version, root, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(tmp_path_factory.mktemp("copy"))
    assert make_version() == 1
    assert not Path("mlflow.db").exists()

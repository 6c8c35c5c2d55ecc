import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.finished_pipeline import MODEL, run_stages
from support.signing_keys import make_keys

from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.registry import find_version, model_files, tree_digest, unchecked_files
from retinanet.tracking.signing import SIGNATURE_TAG, sign
from retinanet.tracking.store import open_client
from retinanet.tracking.verify import verify


@pytest.fixture
def keys(finished, tmp_path) -> Path:
    """The working directory has version 1, signed with this key."""
    client, keys = open_client(), make_keys(tmp_path / "release")
    sign(client, find_version(client, MODEL, 1), keys)
    return keys


def problems(keys: Path, name: str = "1", is_signed: bool = True) -> dict[str, list[str]]:
    """The problems of each check that failed."""
    _, checks = verify(MODEL, name, Path(f"{keys}.pub") if is_signed else None)
    return {check.name: check.problems for check in checks if check.problems}


def change_file(name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file of version 1 as an attacker does who can write to the store: with the registered digest."""
    client = open_client()
    with unchecked_files(client, find_version(client, MODEL, 1)) as folder:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))
        set_tag("artifact.digest", tree_digest(folder))
        set_tag("export_sha256", tree_digest(folder / "artifacts" / "exported"))


def set_tag(name: str, value: str) -> None:
    open_client().set_model_version_tag(MODEL, "1", name, value)


def test_signed_version_passes_every_check(keys):
    number, checks = verify(MODEL, "1", Path(f"{keys}.pub"))
    assert number == 1
    assert [check.name for check in checks] == ["signature", "digests", "tags", "data", "metrics", "run", "weights"]
    assert problems(keys) == problems(keys, is_signed=False) == {}


def swap_weights() -> None:
    (path,) = Path("mlartifacts").rglob("model/trained.safetensors")
    path.write_bytes(b"other weights")


def flip_weight() -> None:
    change_file("artifacts/exported/model.onnx", lambda content: content.replace(b"\x0d", b"\x0e", 1) + b"\x00")


def rename_class() -> None:
    set_tag("classes", "dog, cat")


def raise_metric() -> None:
    set_tag("metric.AP50", "0.99")


def raise_metric_of_the_run() -> None:
    client = open_client()
    client.log_metric(find_version(client, MODEL, 1).run_id, "test/AP50", 0.99)


def add_code() -> None:
    change_file("code/retinanet/__init__.py", lambda content: content + b"open('executed', 'w')\n")


def add_entry_point() -> None:
    change_file("served_model.py", lambda content: b"open('executed', 'w')\n" + content)


def change_data_row() -> None:
    def change(content: bytes) -> bytes:
        return gzip.compress(gzip.decompress(content).replace(b'"bbox": [0.0', b'"bbox": [1.0'), mtime=0)

    change_file("record/test.json.gz", change)


def strip_signature() -> None:
    open_client().delete_model_version_tag(MODEL, "1", SIGNATURE_TAG)


def swap_key() -> None:
    client = open_client()
    sign(client, find_version(client, MODEL, 1), make_keys(Path("other")))


def change_statement() -> None:
    client = open_client()
    envelope = json.loads(find_version(client, MODEL, 1).tags[SIGNATURE_TAG])
    statement = base64.b64decode(envelope["payload"]).replace(b'"metric.AP50": "0', b'"metric.AP50": "1')
    set_tag(SIGNATURE_TAG, json.dumps(envelope | {"payload": base64.b64encode(statement).decode()}))


def change_sbom() -> None:
    change_file("record/sbom.json", lambda content: content.replace(b"numpy", b"nunpy"))


def change_card() -> None:
    open_client().update_model_version(MODEL, "1", "the best detector of the world")


def change_lock() -> None:
    change_file("record/dvc.lock", lambda content: content.replace(b"data/raw", b"data/row"))


def correct_detection() -> None:
    """A detection at the place of the object that was missed."""

    def change(content: bytes) -> bytes:
        rows = json.loads(gzip.decompress(content))
        rows[1]["bbox"] = [0.0, 0.0, 8.0, 8.0]
        return gzip.compress(json.dumps(rows).encode(), mtime=0)

    change_file("record/detections.json.gz", change)


def change_evaluation() -> None:
    set_tag("evaluation.digest", "f" * 64)


TAMPERINGS = [
    (swap_weights, "weights", "sha256 mismatch of model/trained.safetensors"),
    (flip_weight, "signature", "file artifacts/exported/model.onnx: changed"),
    (rename_class, "signature", "tag classes: signed cat, dog, now dog, cat"),
    (raise_metric, "signature", "tag metric.AP50: signed 0."),
    (raise_metric_of_the_run, "run", "test/AP50 is 0.99, recorded is 0."),
    (add_code, "signature", "file code/retinanet/__init__.py: changed"),
    (add_entry_point, "signature", "file served_model.py: changed"),
    (change_data_row, "signature", "file record/test.json.gz: changed"),
    (strip_signature, "signature", "version 1 is not signed"),
    (swap_key, "signature", "which"),
    (change_statement, "signature", "is not valid"),
    (change_sbom, "signature", "file record/sbom.json: changed"),
    (change_card, "signature", "description (model card): changed"),
    (change_lock, "signature", "file record/dvc.lock: changed"),
    (correct_detection, "signature", "file record/detections.json.gz: changed"),
    (change_evaluation, "signature", "tag evaluation.digest: signed eee"),
]


@pytest.mark.parametrize(("tamper", "check", "message"), TAMPERINGS, ids=[row[0].__name__ for row in TAMPERINGS])
def test_tampering_is_refused_with_what_differs_and_nothing_is_executed(keys, tamper, check, message):
    tamper()
    found = problems(keys)
    assert message in "; ".join(found[check])
    assert not Path("executed").exists()


# What numbers alone show, without a signature: the store contradicts itself.
WITHOUT_SIGNATURE = [
    (rename_class, "tags", "tag classes is dog, cat, recorded is cat, dog"),
    (raise_metric, "tags", "tag metric.AP50 is 0.99, recorded is 0."),
    (change_data_row, "data", "sha256 of the test set is"),
    (correct_detection, "metrics", "AP50 is"),
    (change_evaluation, "tags", "tag evaluation.digest is fff"),
]


@pytest.mark.parametrize(
    ("tamper", "check", "message"), WITHOUT_SIGNATURE, ids=[row[0].__name__ for row in WITHOUT_SIGNATURE]
)
def test_contradictions_are_found_without_a_signature(keys, tamper, check, message):
    tamper()
    assert message in "; ".join(problems(keys, is_signed=False)[check])


def test_alias_that_was_moved_to_an_unsigned_version_is_refused(keys):
    client = open_client()
    assert promote(MODEL, 1, Gate("AP50", 0.0), allow_dirty=True).accepted
    assert problems(keys, "production") == {}
    assert run_stages(b"other weights") == 2
    client.set_registered_model_alias(MODEL, "production", "2")
    assert "version 2 is not signed" in problems(keys, "production")["signature"][0]


def test_production_that_was_moved_by_hand_to_another_signed_version_is_refused(keys):
    client = open_client()
    assert promote(MODEL, 1, Gate("AP50", 0.0), allow_dirty=True).accepted
    assert run_stages(b"other weights") == 2
    sign(client, find_version(client, MODEL, 2), keys)
    client.set_registered_model_alias(MODEL, "production", "2")
    (problem,) = problems(keys, "production").pop("alias")
    assert "put into production outside of the history, which has version 1" in problem
    assert problems(keys, "2") == {}


def test_damaged_or_missing_record_is_named(keys):
    client = open_client()
    change_file("record/detections.json.gz", lambda content: content[:-9])
    assert "the record cannot be read" in problems(keys)["metrics"][0]
    with model_files(client, find_version(client, MODEL, 1)) as folder:
        (folder / "record" / "training.json").unlink()
    assert "training.json" in problems(keys)["data"][0]


def test_deleted_run_is_a_problem_and_no_traceback(keys):
    client = open_client()
    run_id = find_version(client, MODEL, 1).run_id
    client.delete_run(run_id)
    assert "deleted" in problems(keys)["run"][0]

import json
from pathlib import Path

import yaml
from support.finished_pipeline import MODEL, RESULTS

from retinanet.tracking.registry import find_version, model_files
from retinanet.tracking.store import open_client
from retinanet.tracking.version_record import DETECTIONS, TRAINING, VERSION, read_record, write_record
from stages import paths


def test_version_has_its_record(finished):
    client = open_client()
    with model_files(client, find_version(client, MODEL, 1)) as folder:
        assert sorted(path.name for path in (folder / "record").iterdir()) == [
            "detections.json.gz",
            "dvc.lock",
            "model_card.md",
            "params.yaml",
            "sbom.json",
            "test.json.gz",
            "training.json",
            "version.json",
        ]
        assert read_record(folder, DETECTIONS) == RESULTS
        assert read_record(folder, TRAINING)["params"]["train.epochs"] == 2
        made = read_record(folder, VERSION)
        assert made["metrics"] == json.loads(paths.METRICS.read_text())
        assert made["tags"]["dirty"] == "false"
        assert (folder / "record" / "params.yaml").read_text() == Path("params.yaml").read_text()
        lock = yaml.safe_load((folder / "record" / "dvc.lock").read_text())
    # Only the stages before export: its own entry is written after it.
    assert list(lock["stages"]) == ["download", "prepare", "train", "evaluate"]


def test_record_of_the_same_files_has_the_same_bytes(finished, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    write_record(again, ["cat", "dog"], "onnx", paths)
    first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in (paths.VERSION_RECORD, again))
    for name, content in first.items():
        assert second[name] == content, name

import json

import pytest

from retinanet.errors import EvaluationError
from retinanet.tracking.evaluations import StoredDetections, read_detections, stored_detections
from retinanet.tracking.registry import find_version, register
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client

ROW = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.fixture
def version(root, toy_onnx) -> None:
    """Version 1, whose run has the detections of the evaluation `today`."""
    (root / "detections.json").write_text(json.dumps([ROW]))
    (root / "operating_points.csv").write_text('class,threshold,f1\n"cat, big",0.25,0.9\ndog,0.5,0.8\n')
    with start_run("birds") as run:
        run.begin_evaluation("today")
        for name in ("detections.json", "operating_points.csv"):
            run.log_artifact(root / name, "evaluate")
    register("retinanet", run.id, toy_onnx(), "a", {"AP50": 0.5}, "today", ["cat", "dog"])


def test_detections_of_an_evaluation_are_found_with_the_thresholds_of_the_classes(version):
    client = open_client()
    found = stored_detections(client, find_version(client, "retinanet", 1), "today")
    assert found == StoredDetections([ROW], {"cat, big": 0.25, "dog": 0.5})


def test_another_evaluation_has_no_detections(version):
    client = open_client()
    assert stored_detections(client, find_version(client, "retinanet", 1), "tomorrow") is None


def test_damaged_detections_are_one_error_or_none(version, tmp_path):
    (tmp_path / "damaged.json").write_text("[")
    with pytest.raises(EvaluationError, match=r"damaged.json: cannot be read .* writes it again"):
        read_detections(tmp_path / "damaged.json", tmp_path / "operating_points.csv")

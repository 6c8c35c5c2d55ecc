import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from support.squares import build_network, make_squares, small_network
from support.workspace import ROOT

from retinanet.config.params import write_params
from retinanet.files import write_json
from retinanet.images.preprocess import InputSize
from retinanet.model.weights import TrainedModel, save_model
from stages import gradcam_report


class Run:
    def __init__(self):
        self.metrics, self.artifacts = {}, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def log_metrics(self, metrics):
        self.metrics |= metrics

    def log_artifacts(self, path, folder):
        self.artifacts.append((path, folder))


@pytest.fixture
def squares(tmp_path, monkeypatch):
    """The working directory after `evaluate`: 7 squares, an untrained network, and detections that are made up.

    The squares of images 1 and 2 are found, that of 3 loosely; on 4 and 8 something else is found, on 8 twice.
    """
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    dataset = make_squares(tmp_path)
    for folder in ("data/prepared", "models", "reports/evaluate"):
        Path(folder).mkdir(parents=True)
    shutil.copy("squares.json", "data/prepared/test.json")
    torch.manual_seed(0)
    network = build_network(small_network(backbone="timm/test_resnet"), 1)
    save_model(Path("models/model.safetensors"), TrainedModel(network, ("square",), (1,), InputSize(96, 96)))
    write_json(Path("models/run.json"), {"run_id": "1f", "experiment": "e"})
    write_json(Path("reports/evaluate/metrics.json"), {"AP50": 0.5, "AP": 0.25})

    def row(image_id, score, height=40):
        x, y = dataset.objects[image_id].boxes_xyxy[0, :2].tolist()
        return {"image_id": image_id, "category_id": 1, "bbox": [x, y, 40, height], "score": score}

    def elsewhere(image_id, score, corner):
        return {"image_id": image_id, "category_id": 1, "bbox": [corner, corner, 9, 9], "score": score}

    rows = [row(1, 0.9), row(2, 0.8), row(3, 0.7, height=26), elsewhere(4, 0.6, 0), row(5, 0.1)]
    rows += [elsewhere(8, 0.5, 0), elsewhere(8, 0.4, 80)]
    write_json(Path("reports/evaluate/detections.json"), rows)
    return tmp_path


def run_stage(monkeypatch, **settings) -> Run:
    write_params(Path("params.yaml"), {f"gradcam.{name}": value for name, value in settings.items()})
    run = Run()
    monkeypatch.setattr(gradcam_report, "resume_run", lambda path: run)
    with pytest.raises(SystemExit) as end:
        gradcam_report.main()
    assert not end.value.code
    return run


def test_report_has_cases_labels_to_check_images_and_metrics(squares, monkeypatch, capsys):
    run = run_stage(monkeypatch, cases_per_kind=2)
    page = Path("reports/gradcam/index.html").read_text()
    assert page.count("with its heat map") == 6
    assert page.count("square missed") == 2 * 2  # caption and alternative text
    rows = list(csv.DictReader(Path("reports/gradcam/labels_to_check.csv").read_text().splitlines()))
    assert [(row["check"], row["rank"], row["image"]) for row in rows] == [
        ("unlabeled object", "1", "8.png"),
        ("unlabeled object", "1", "8.png"),
        ("unlabeled object", "2", "4.png"),
        ("misdrawn box", "1", "3.png"),
    ]
    assert rows[-1]["iou"] == "0.65" and rows[0]["iou"] == ""
    images = {path.name for path in Path("reports/gradcam/images").iterdir()}
    assert images == {f"{kind}_{i}.jpg" for kind in ("false_positive", "missed_object", "hit") for i in (1, 2)}
    metrics = json.loads(Path("reports/gradcam/metrics.json").read_text())
    assert set(metrics) == {"heat_inside_box", "heat_maximum_inside_box"}
    assert run.metrics == {f"test/{name}": value for name, value in metrics.items()}
    assert run.artifacts == [(Path("reports/gradcam"), "gradcam")]
    assert "labels to look at first (2 images in labels_to_check.csv): 8.png, 4.png" in capsys.readouterr().out


def test_report_without_detections_shows_what_was_missed(squares, monkeypatch):
    write_json(Path("reports/evaluate/detections.json"), [])
    assert run_stage(monkeypatch).metrics == {}
    page = Path("reports/gradcam/index.html").read_text()
    assert page.count("None on this split.") == 2
    assert page.count("with its heat map") == 6
    assert Path("reports/gradcam/labels_to_check.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("method", ["hirescam", "eigencam"])
def test_faithfulness_is_measured_if_it_is_asked_for(squares, monkeypatch, method):
    run = run_stage(monkeypatch, method=method, cases_per_kind=1, faithfulness_hits=2)
    names = {
        "heat_deletion",
        "heat_insertion",
        "random_deletion",
        "gaussian_insertion",
        "heat_similarity_random_subnet",
    }
    assert {f"test/{name}" for name in names} <= set(run.metrics)

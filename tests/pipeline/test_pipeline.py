"""The whole pipeline on a small setting, as a user runs it."""

import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workspace")]


def test_it_ends_by_telling_where_to_look_next(workspace):
    for what in ("retinanet promote", "reports/gradcam/index.html", "mlflow ui"):
        assert what in workspace.said


def test_all_is_there_and_registered(workspace):
    for path in (
        "models/model.safetensors",
        "models/export/model.onnx",
        "reports/evaluate/metrics.json",
        "reports/gradcam/index.html",
        "reports/train/history.csv",
    ):
        assert (workspace.folder / path).stat().st_size > 0, path
    assert workspace.json("models/registered.json") == {"name": "retinanet", "version": 1}
    assert workspace.json("reports/export.json")["matched_share"] >= 0.99
    assert workspace.counts() == (1, 1)


def test_a_second_repro_does_nothing(workspace):
    assert "up to date" in workspace.run("dvc", "repro")
    assert workspace.counts() == (1, 1)


def test_a_image_more_in_the_folder_of_images_is_seen(workspace):
    image = workspace.folder / "data/my_images/new.jpg"
    image.write_bytes(b"an image")
    assert "data/my_images" in workspace.run("dvc", "status", "download")
    image.unlink()
    assert "up to date" in workspace.run("dvc", "status")


def test_promotion_of_the_first_then_a_worse_one_is_refused(workspace):
    workspace.run("retinanet", "promote", "--dry-run")
    assert "production" in workspace.run("retinanet", "promote")
    image = next((workspace.folder / "data/prepared/tiles").iterdir())
    workspace.run("retinanet", "predict", str(image), "--model", "models:/retinanet@production", "--score", "0.05")
    assert any((workspace.folder / "predictions").iterdir())


def test_one_train_param_makes_one_run_and_one_version(workspace):
    said = workspace.run("dvc", "exp", "run", "-n", "other", "-S", "train.seed=7")
    assert "Stage 'prepare' didn't change" in said and "Running stage 'train'" in said
    assert workspace.counts() == (2, 2)
    assert "other" in workspace.run("dvc", "exp", "show", "--md")
    assert "AP50" in workspace.run("dvc", "metrics", "diff", "--md")
    workspace.run("dvc", "plots", "diff", "HEAD", "workspace", "-o", "plots")
    page = (workspace.folder / "plots/index.html").read_text(encoding="utf-8")
    assert "Training losses" in page and ".png" in page


def test_an_evaluation_under_other_settings_leaves_the_figures_of_the_run(workspace):
    runs, _ = workspace.counts()
    workspace.run("dvc", "exp", "run", "-S", "evaluate.nms_iou=0.3")
    # The figures go to a child run, and the weights already have their version.
    assert workspace.counts()[0] == runs + 1


def test_an_experiment_in_a_temporary_folder_writes_to_this_store(workspace):
    runs, versions = workspace.counts()
    workspace.run("dvc", "exp", "run", "--temp", "-S", "train.seed=8")
    assert workspace.counts() == (runs + 1, versions + 1)


def test_two_processes_learn_what_one_does(workspace):
    def losses() -> list[float]:
        return pd.read_csv(workspace.folder / "reports/train/history.csv")["train/loss"].to_list()

    alone, (runs, versions) = losses(), workspace.counts()
    workspace.run("dvc", "exp", "run", "-S", "train.processes=2")
    assert workspace.counts() == (runs + 1, versions + 1)
    assert losses() == pytest.approx(alone, rel=0.01)


def test_mistakes_get_one_line(workspace):
    good = (workspace.folder / "params.yaml").read_text(encoding="utf-8")
    workspace.set("train", epoch=3)
    said = workspace.run("python", "-m", "stages.train", code=1)
    (workspace.folder / "params.yaml").write_text(good, encoding="utf-8")
    assert said.strip() == "error: params.yaml: train.epoch is not a known key; did you mean epochs?"

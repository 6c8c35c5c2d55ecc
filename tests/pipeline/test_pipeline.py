"""The whole pipeline on a small setting, as a user runs it."""

import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workspace")]

UP_TO_DATE = "Data and pipelines are up to date."


def test_repro_ends_with_the_next_commands(workspace):
    for expected in ("retinanet promote", "reports/gradcam/index.html", "mlflow ui"):
        assert expected in workspace.repro_output


def test_repro_writes_every_output_and_registers_a_version(workspace):
    for path in (
        "reports/prepare/findings.json",
        "reports/data/index.html",
        "models/model.safetensors",
        "models/export/model.onnx",
        "reports/export/runtimes.csv",
        "reports/evaluate/metrics.json",
        "reports/gradcam/index.html",
        "reports/train/history.csv",
    ):
        assert (workspace.folder / path).stat().st_size > 0, path
    assert workspace.json("models/registered.json") == {"name": "retinanet", "version": 1, "runtime": "onnx"}
    assert workspace.json("reports/export.json")["matched_share"] >= 0.99
    assert workspace.counts() == (1, 1)


def test_second_repro_does_nothing(workspace):
    assert "up to date" in workspace.run("dvc", "repro")
    assert workspace.counts() == (1, 1)


def test_changed_code_of_earlier_stages_leaves_train_evaluate_and_export_up_to_date(workspace):
    changed = {
        "retinanet/annotations/yolo.py": "prepare",
        "retinanet/data_report/page.py": "data-report",
        "retinanet/fetch/downloads.py": "download",
    }
    contents = {name: (workspace.folder / name).read_text(encoding="utf-8") for name in changed}
    try:
        for name, stage in changed.items():
            (workspace.folder / name).write_text(f"{contents[name]}\n# a comment\n", encoding="utf-8")
            assert "changed deps" in workspace.run("dvc", "status", stage)
        assert UP_TO_DATE in workspace.run("dvc", "status", "train", "evaluate", "export")
    finally:
        for name, content in contents.items():
            (workspace.folder / name).write_text(content, encoding="utf-8")
    assert UP_TO_DATE in workspace.run("dvc", "status")


def test_changed_runtime_settings_leave_every_stage_up_to_date(workspace):
    path = workspace.folder / "params.yaml"
    before = path.read_text(encoding="utf-8")
    try:
        workspace.set("runtime", workers=2, processes=2, accumulation_steps=2, checkpoint_minutes=1, cache_images=True)
        assert UP_TO_DATE in workspace.run("dvc", "status")
    finally:
        path.write_text(before, encoding="utf-8")


def test_image_added_to_my_images_makes_download_stale(workspace):
    image = workspace.folder / "data/my_images/new.jpg"
    image.write_bytes(b"an image")
    assert "data/my_images" in workspace.run("dvc", "status", "download")
    image.unlink()
    assert UP_TO_DATE in workspace.run("dvc", "status")


def test_promote_puts_the_first_version_into_production_and_predict_uses_it(workspace):
    workspace.run("retinanet", "promote", "--dry-run")
    assert "production" in workspace.run("retinanet", "promote")
    image = next((workspace.folder / "data/prepared/tiles").iterdir())
    workspace.run("retinanet", "predict", str(image), "--model", "models:/retinanet@production", "--score", "0.05")
    assert any((workspace.folder / "predictions").iterdir())


def test_evaluation_with_other_settings_goes_to_a_child_run(workspace):
    runs, _ = workspace.counts()
    workspace.run("dvc", "exp", "run", "-S", "evaluate.nms_iou=0.3")
    assert workspace.counts()[0] == runs + 1


def test_experiment_in_a_temporary_folder_writes_to_this_store(workspace):
    runs, versions = workspace.counts()
    workspace.run("dvc", "exp", "run", "--temp", "-S", "train.seed=8")
    assert workspace.counts() == (runs + 1, versions + 1)


def test_two_processes_have_the_losses_of_one(workspace):
    def losses() -> list[float]:
        return pd.read_csv(workspace.folder / "reports/train/history.csv")["train/loss"].to_list()

    alone, (runs, versions) = losses(), workspace.counts()
    # How many processes train makes no stage stale.
    workspace.run("dvc", "exp", "run", "--force", "--downstream", "train", "-S", "runtime.processes=2")
    assert workspace.counts() == (runs + 1, versions + 1)
    assert losses() == pytest.approx(alone, rel=0.01)


def test_misspelled_param_is_one_line(workspace):
    good = (workspace.folder / "params.yaml").read_text(encoding="utf-8")
    workspace.set("train", epoch=3)
    output = workspace.run("python", "-m", "stages.train", code=1)
    (workspace.folder / "params.yaml").write_text(good, encoding="utf-8")
    assert output.strip() == "error: params.yaml: train.epoch is not a known key; did you mean epochs?"

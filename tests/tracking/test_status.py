from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote, rollback
from retinanet.tracking.status import history_text, status_text
from retinanet.tracking.store import open_client

GATE = Gate("AP50", 0.3, accepts_undecided=True)


def test_status_text_lists_roles_metrics_and_how_to_open_the_ui(make_version):
    for value in (0.5, 0.6, 0.55):
        make_version(value)
    for version in (1, 2):
        promote("retinanet", version, GATE)
    text = status_text("retinanet", "AP50", 3, "experiment")
    lines = text.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["production:", "version", "2"],
        ["previous:", "version", "1"],
        ["workspace:", "version", "3"],
    ]
    assert [(line.split()[:2], line.split()[-1]) for line in lines[5:8]] == [
        (["3", "0.5500"], "workspace"),
        (["2", "0.6000"], "production"),
        (["1", "0.5000"], "previous"),
    ]
    assert lines[-3].startswith("MLflow UI: uv run mlflow ui --backend-store-uri sqlite:///")
    pages = "http://127.0.0.1:5000/#"
    assert lines[-2].split() == [
        "runs:",
        f"{pages}/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=retinanet",
    ]
    assert lines[-1].split() == ["model:", f"{pages}/models/retinanet?workflowType=machine_learning"]


def test_status_text_of_an_empty_store_says_what_to_run(root):
    assert "no versions yet; `dvc repro` registers one" in status_text("retinanet", "AP50", None)


def test_status_text_shows_the_last_changes_and_history_text_all(make_version):
    assert history_text("retinanet") == "no version of retinanet was promoted yet"
    for value in (0.5, 0.6, 0.7):
        promote("retinanet", make_version(value), GATE, reason=f"has {value}")
    rollback("retinanet", "x" * 200)
    lines = status_text("retinanet", "AP50", None).splitlines()
    start = lines.index("1 earlier changes: retinanet status --history")
    assert [line.split()[2:6] for line in lines[start + 1 : start + 4]] == [
        ["promote", "1", "->", "2"],
        ["promote", "2", "->", "3"],
        ["rollback", "3", "->", "2"],
    ]
    assert lines[start + 2].endswith("  has 0.7") and lines[start + 3].endswith("x" * 79 + "…")
    history = history_text("retinanet").splitlines()
    assert history[0].split()[2:6] == ["rollback", "3", "->", "2"] and history[1] == f"    reason: {'x' * 200}"
    assert history[-3].split()[2:6] == ["promote", "none", "->", "1"]
    assert history[-2:] == [
        "    reason: has 0.5",
        "    gate: version 1 has AP50 0.5000, the floor is 0.3; no version was in production",
    ]


def test_status_text_says_that_production_was_moved_outside_of_the_history(make_version):
    for value in (0.5, 0.6):
        make_version(value)
    promote("retinanet", 2, GATE)
    open_client().set_registered_model_alias("retinanet", "production", "1")
    assert status_text("retinanet", "AP50", None).splitlines()[0] == (
        "production: version 1: put into production outside of the history, which has version 2; set back the alias in "
        "MLflow's pages, then use `retinanet promote`"
    )


def test_status_text_names_the_way_out_if_production_was_deleted(make_version):
    for value in (0.5, 0.6):
        promote("retinanet", make_version(value), GATE)
    open_client().delete_model_version("retinanet", "2")
    assert status_text("retinanet", "AP50", None).splitlines()[0] == (
        "production: none: version 2 was in production, and it or its alias was deleted; `retinanet rollback` puts "
        "version 1 back, `retinanet promote --version N --force --reason TEXT` promotes without a comparison"
    )

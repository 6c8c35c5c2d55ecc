from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.status import status_text


def test_status_text_lists_roles_metrics_and_how_to_open_the_ui(make_version):
    for value in (0.5, 0.6, 0.55):
        make_version(value)
    for version in (1, 2):
        promote("retinanet", version, Gate("AP50", 0.3, accepts_undecided=True))
    text = status_text("retinanet", "AP50", 3)
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
    assert lines[-1].startswith("MLflow UI: uv run mlflow ui --backend-store-uri sqlite:///")


def test_status_text_of_an_empty_store_says_what_to_run(root):
    assert "no versions yet; `dvc repro` registers one" in status_text("retinanet", "AP50", None)

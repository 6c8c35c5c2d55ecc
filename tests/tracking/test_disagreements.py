import time
from pathlib import Path

import pytest
from PIL import Image
from support.finished_pipeline import MODEL

from retinanet.files import write_json
from retinanet.tracking import disagreements
from retinanet.tracking.comparison import Gate
from retinanet.tracking.disagreements import compare_with_production
from retinanet.tracking.promotion import promote
from retinanet.tracking.runs import evaluation_run
from retinanet.tracking.store import open_client
from stages import paths

DIGEST = "e" * 64


@pytest.fixture
def in_production(finished) -> Path:
    """A finished pipeline whose version 1, with a right and a false detection of cats, is in production."""
    paths.OPERATING_POINTS.write_text("class,threshold\ncat,0.25\ndog,0.25\n")
    with evaluation_run(paths.RUN, DIGEST) as run:
        run.log_artifact(paths.OPERATING_POINTS, "evaluate")
    for name in ("1.png", "2.png"):
        Image.new("RGB", (64, 48)).save(name)
    assert promote(MODEL, 1, Gate("AP50", 0.0), allow_dirty=True).accepted
    return finished


def test_the_page_is_written_and_logged(in_production):
    write_json(paths.DETECTIONS, [{"image_id": 2, "category_id": 3, "bbox": [0.0, 0.0, 8.0, 8.0], "score": 0.9}])
    line = compare_with_production(MODEL, 2, paths)
    assert line == "worse than version 1 in production on 1 test images, better on 1; see reports/disagreements.html"
    text = paths.DISAGREEMENTS.read_text(encoding="utf-8")
    assert "Images on which version 2 is worse: 1" in text and text.count("data:image/jpeg;base64,") == 6
    (run,) = open_client().search_runs(["1"])
    logged = [file.path for file in open_client().list_artifacts(run.info.run_id, "evaluate")]
    assert "evaluate/disagreements.html" in logged


@pytest.mark.parametrize(
    ("number", "digest", "reason"),
    [
        (1, DIGEST, "version 1 is the one in production"),
        (2, "other", "version 1 in production has no detections on this test split with these settings"),
    ],
)
def test_nothing_to_compare_with_is_one_line_and_removes_an_earlier_page(in_production, number, digest, reason):
    paths.DISAGREEMENTS.write_text("of an earlier version")
    write_json(paths.EVALUATION_DIGEST, {"digest": digest})
    assert compare_with_production(MODEL, number, paths) == f"no reports/disagreements.html: {reason}"
    assert not paths.DISAGREEMENTS.exists()


def test_no_production_and_an_unreachable_server_are_one_line(finished, monkeypatch):
    assert compare_with_production(MODEL, 1, paths).endswith("no version is in production")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    line = compare_with_production(MODEL, 1, paths)
    assert line.startswith("no reports/disagreements.html: http://127.0.0.1:9: ") and "\n" not in line


def test_a_slow_server_is_not_waited_for(finished, monkeypatch):
    monkeypatch.setattr(disagreements, "MAX_SECONDS", 0.01)
    monkeypatch.setattr(disagreements, "_production", lambda *_: time.sleep(0.5))
    assert "did not come within 0.01 s; `retinanet compare --page`" in compare_with_production(MODEL, 1, paths)

import base64
import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from PIL import Image

from retinanet.images.reading import STANDARD_READING, Reading
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.inference.detections import Detections
from retinanet.tracking import served_model
from retinanet.tracking.served_model import ServedModel


def encoded(width=8, height=6, **settings):
    file = io.BytesIO()
    Image.new(settings.pop("mode", "RGB"), (width, height)).save(file, settings.pop("format", "PNG"))
    return base64.b64encode(file.getvalue()).decode()


class TwoCats:
    class_names, thresholds = ("cat", "dog"), (0.5, 0.1)
    reading, tiling = STANDARD_READING, UNCUT

    def __call__(self, images):
        height, width = images[0].shape[:2]
        boxes = np.array([[0, 0, width, height], [0, 0, 1, 1]], np.float32)
        return [Detections(boxes, np.array([0.9, 0.2], np.float32), np.array([0, 1]))]


@pytest.fixture
def model():
    model = ServedModel(load=lambda path: TwoCats())
    model.load_context(SimpleNamespace(artifacts={"exported": "exported"}))
    return model


def ask(model, *images, **params):
    return model.predict(None, pd.DataFrame({"image": images}), params).to_dict("records")


def test_predict_returns_boxes_scores_and_labels(model):
    assert ask(model, encoded()) == [
        {
            "boxes": [[0.0, 0.0, 8.0, 6.0], [0.0, 0.0, 1.0, 1.0]],
            "scores": [0.9, 0.2],
            "labels": ["cat", "dog"],
            "error": None,
        }
    ]


def test_predict_answers_detections_from_the_threshold_of_their_class(model):
    model.detector.thresholds = (0.5, 0.3)
    assert ask(model, encoded())[0]["labels"] == ask(model, encoded(), score_threshold=None)[0]["labels"] == ["cat"]


@pytest.mark.parametrize(("score", "labels"), [(0.0, ["cat", "dog"]), (0.5, ["cat"]), (0.95, [])])
def test_param_score_threshold_replaces_the_thresholds_of_all_classes(model, score, labels):
    assert ask(model, encoded(), score_threshold=score)[0]["labels"] == labels


def test_predict_with_one_invalid_image_answers_the_others(model):
    good, bad, also_good = ask(model, encoded(), base64.b64encode(b"no image").decode(), encoded(1, 1))
    assert [len(row["scores"]) for row in (good, bad, also_good)] == [2, 0, 2]
    assert "expected JPEG" in bad["error"]


@pytest.mark.parametrize(
    "image",
    ["/etc/passwd", "../data/secret.png", "http://example.org/a.png", "file:///etc/passwd", "", "####", None, 3, [1]],
)
def test_predict_with_an_invalid_value_returns_an_error_and_opens_no_file(model, image, monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *a, **k: pytest.fail("opened a file"))
    (row,) = ask(model, image)
    assert row["scores"] == []
    assert '"image"' in row["error"]


def test_predict_does_not_open_a_file_whose_name_is_valid_base64(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "abcd").write_bytes(base64.b64decode(encoded()))
    assert ask(model, "abcd")[0]["error"] is not None


def test_predict_limits_bytes_pixels_and_images(model, monkeypatch):
    monkeypatch.setattr(served_model, "MAX_BYTES", 1000)
    model.detector.reading = Reading(max_pixels=100)
    monkeypatch.setattr(served_model, "MAX_IMAGES", 3)
    monkeypatch.setitem(sys.modules, served_model.SERVER_MODULE, None)
    rows = ask(model, "A" * 2000, encoded(20, 20), encoded(), encoded())
    assert [row["error"] is None for row in rows] == [False, False, True, False]
    assert "bytes" in rows[0]["error"]
    assert "pixels" in rows[1]["error"]
    assert "more than 3 images" in rows[3]["error"]


def test_service_limits_tiles_of_an_image_and_seconds_of_a_request(model, monkeypatch):
    model.detector.tiling = Tiling(4, 0.0)
    monkeypatch.setattr(served_model, "MAX_TILES", 3)
    assert ask(model, encoded(8, 6))[0]["error"] is None
    monkeypatch.setitem(sys.modules, served_model.SERVER_MODULE, None)
    assert "cut into 4 tiles" in ask(model, encoded(8, 6))[0]["error"]
    monkeypatch.setattr(served_model, "MAX_SECONDS", 0)
    assert "not reached in 0 s" in ask(model, encoded(4, 4))[0]["error"]


def test_a_job_that_loads_the_model_gets_an_answer_for_each_row(model, monkeypatch):
    monkeypatch.setattr(served_model, "MAX_IMAGES", 3)
    assert [row["error"] for row in ask(model, *[encoded()] * 5)] == [None] * 5


def test_server_module_is_the_one_that_mlflow_serves():
    command, _ = scoring_server.get_cmd("models:/retinanet/1")
    assert command.endswith(f" {served_model.SERVER_MODULE}:app")


def test_predict_with_invalid_base64_returns_an_error(model):
    (row,) = model.predict(None, pd.DataFrame({"image": ["x"]})).to_dict("records")
    assert "base64" in row["error"]


def test_predict_accepts_a_list_of_images_in_one_row(model):
    assert [row["error"] for row in ask(model, [encoded(), encoded()])] == [None, None]


def test_predict_accepts_line_breaks_in_base64_and_gray_jpeg(model):
    wrapped = base64.encodebytes(base64.b64decode(encoded(format="JPEG", mode="L"))).decode()
    assert ask(model, wrapped)[0]["error"] is None


def test_served_model_imports_no_torch():
    # The modules of this package that the served model imports.
    code = "import sys, retinanet.inference.detector, retinanet.images.reading; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

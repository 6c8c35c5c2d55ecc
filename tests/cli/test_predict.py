import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from support.workspace import in_pipeline_repository

from retinanet.cli.predict import find_images, model_path, predict_images
from retinanet.errors import ImageError, TrackingError, WeightsError
from retinanet.inference.detections import Detections


class OneDog:
    class_names = ("cat", "dog")
    category_ids = (3, 7)

    def __call__(self, images):
        boxes = np.array([[1, 2, 5, 8], [0, 0, 1, 1]], np.float32)
        return [Detections(boxes, np.array([0.75, 0.1], np.float32), np.array([1, 0]))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "more/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(name)
    Path("broken.jpg").write_bytes(b"")
    Path("notes.txt").write_text("no image")
    return tmp_path


def test_find_images_lists_named_files_and_images_in_folders(folder):
    assert find_images(["more", "notes.txt"]) == [Path("more/a.png"), Path("notes.txt")]
    Path("empty").mkdir()
    with pytest.raises(ImageError, match="no images in this folder"):
        find_images(["empty"])


def test_predict_images_writes_coco_files_and_drawings_and_reports_unreadable_images(folder, capsys):
    out = Path("out")
    assert predict_images(OneDog(), find_images(["."]), out, min_score=0.3) == 1
    content, results = (json.loads((out / f"{name}.json").read_text()) for name in ("images", "detections"))
    assert [(i["file_name"], i["width"], i["height"]) for i in content["images"]] == [
        ("a.png", 20, 10),
        ("more/a.png", 20, 10),
    ]
    assert [(r["image_id"], r["category_id"], r["bbox"]) for r in results] == [
        (content["images"][0]["id"], 7, [1, 2, 4, 6]),
        (content["images"][1]["id"], 7, [1, 2, 4, 6]),
    ]
    assert content["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert [f["file_name"] for f in content["failed"]] == ["broken.jpg"]
    assert sorted(p.name for p in out.glob("*.jpg")) == ["a-2.jpg", "a.jpg"]
    output = capsys.readouterr()
    assert "a.png: 1 dog: out/a.jpg" in output.out
    assert output.err == "error: broken.jpg: has 0 bytes; expected JPEG, PNG, TIFF …\n"


def test_predict_images_writes_files_that_pycocotools_reads(folder):
    predict_images(OneDog(), find_images(["a.png"]), Path("out"), min_score=0.0)
    read = COCO("out/images.json").loadRes("out/detections.json")
    assert [row["score"] for row in read.loadAnns(read.getAnnIds())] == pytest.approx([0.75, 0.1])


def test_model_path_without_a_name_prefers_the_exported_model(folder):
    in_pipeline_repository()
    with pytest.raises(WeightsError, match="dvc repro"), model_path(None):
        pass
    for name in ("models/model.safetensors", "models/export/model.onnx"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
        with model_path(None) as path:
            assert path == Path(name)
    with model_path("other.onnx") as path:
        assert path == Path("other.onnx")


def test_model_path_without_a_name_outside_of_a_repository_is_an_error(folder):
    with pytest.raises(WeightsError, match="no default model; use --model"), model_path(None):
        pass


@pytest.mark.parametrize("uri", ["models:/", "models:/retinanet", "models:/@production", "models:/a/1@b"])
def test_model_path_with_an_incomplete_uri_is_an_error(uri, folder):
    with pytest.raises(TrackingError, match="not a model version"), model_path(uri):
        pass


def test_predict_images_also_writes_formats_with_paths_relative_to_the_common_folder(folder):
    predict_images(OneDog(), [Path("a.png"), Path("more/a.png")], Path("out"), 0.3, ["yolo", "cvat"])
    assert Path("out/labels/more/a.txt").read_text() == "1 0.150000 0.500000 0.200000 0.600000\n"
    assert '<image id="1" name="more/a.png" width="20" height="10">' in Path("out/annotations.xml").read_text()


def test_find_images_leaves_hidden_files_out(folder):
    Path("more/._a.png").write_bytes(b"x")
    assert find_images(["more"]) == [Path("more/a.png")]

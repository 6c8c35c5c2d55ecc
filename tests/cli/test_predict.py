import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from support.workspace import in_pipeline_repository

from retinanet.cli.predict import model_path, named_images, predict_images
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


def test_folders_give_their_images_and_files_themselves(folder):
    assert named_images(["more", "notes.txt"]) == [Path("more/a.png"), Path("notes.txt")]
    Path("empty").mkdir()
    with pytest.raises(ImageError, match="without images"):
        named_images(["empty"])


def test_all_readable_images_are_answered_and_drawn(folder, capsys):
    out = Path("out")
    assert predict_images(OneDog(), named_images(["."]), out, min_score=0.3) == 1
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
    said = capsys.readouterr()
    assert "a.png: 1 dog: out/a.jpg" in said.out
    assert said.err == "error: broken.jpg: has 0 bytes; an image is needed (JPEG, PNG, TIFF …)\n"


def test_pycocotools_reads_both_files(folder):
    predict_images(OneDog(), named_images(["a.png"]), Path("out"), min_score=0.0)
    read = COCO("out/images.json").loadRes("out/detections.json")
    assert [row["score"] for row in read.loadAnns(read.getAnnIds())] == pytest.approx([0.75, 0.1])


def test_the_model_of_the_workspace_is_the_exported_one_first(folder):
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


@pytest.mark.parametrize("uri", ["models:/", "models:/retinanet", "models:/@production", "models:/a/1@b"])
def test_a_registered_model_needs_its_version(uri, folder):
    with pytest.raises(TrackingError, match="names no version"), model_path(uri):
        pass

import json
from pathlib import Path

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.formats import read_source
from retinanet.annotations.records import Box
from retinanet.cli.written_formats import WRITTEN_FORMATS, PredictedImage
from retinanet.errors import AnnotationError

CLASSES = ("cat", "R&D <50%>", "Bär, rot")
IMAGES = (
    PredictedImage("a.png", 64, 48, (Box("cat", (1.234, 2, 30, 40.5)), Box(CLASSES[1], (0, 0, 64, 48))), (0.9, 0.5)),
    PredictedImage("more/b.png", 64, 48, (Box(CLASSES[2], (10, 10, 20.25, 20)),), (0.75,)),
    PredictedImage("more/c.png", 64, 48, (), ()),
)


@pytest.mark.parametrize("name", WRITTEN_FORMATS)
def test_a_written_format_is_read_back_to_the_same_boxes(tmp_path, name):
    save_images(tmp_path / "images", {image.name: [] for image in IMAGES})
    written = WRITTEN_FORMATS[name]
    written.write(IMAGES, CLASSES, tmp_path / written.file_name)
    source = read_source(tmp_path)
    assert source.format == name
    found = {image.file.relative_to(tmp_path / "images").as_posix(): image.boxes for image in source.images}
    assert found.keys() == {image.name for image in IMAGES}
    for image in IMAGES:
        assert [box.class_name for box in found[image.name]] == [box.class_name for box in image.boxes]
        for box, expected in zip(found[image.name], image.boxes, strict=True):
            assert box.xyxy == pytest.approx(expected.xyxy, abs=0.01)


@pytest.mark.parametrize("name", ["coco", "csv", "label-studio"])
def test_scores_are_written(tmp_path, name):
    path = tmp_path / WRITTEN_FORMATS[name].file_name
    WRITTEN_FORMATS[name].write(IMAGES, CLASSES, path)
    assert "0.75" in path.read_text(encoding="utf-8")


def test_label_studio_tasks_are_predictions(tmp_path):
    path: Path = tmp_path / "tasks.json"
    WRITTEN_FORMATS["label-studio"].write(IMAGES[:1], CLASSES, path)
    (task,) = json.loads(path.read_text(encoding="utf-8"))
    value = task["predictions"][0]["result"][1]["value"]
    assert value == {"x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0, "rectanglelabels": ["R&D <50%>"]}


@pytest.mark.parametrize("name", ["voc", "yolo"])
def test_images_that_would_share_a_file_are_an_error(tmp_path, name):
    images = [PredictedImage(f"a.{suffix}", 64, 48, (), ()) for suffix in ("jpg", "png")]
    with pytest.raises(AnnotationError, match=r"a\.jpg and a\.png would both have"):
        WRITTEN_FORMATS[name].write(images, CLASSES, tmp_path / "labels")

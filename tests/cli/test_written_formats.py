import json
from pathlib import Path

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.formats import read_source
from retinanet.annotations.records import Box
from retinanet.cli.written_formats import WRITTEN_FORMATS, PredictedImage, check_names
from retinanet.errors import AnnotationError

CLASSES = ("cat", "R&D <50%>", "Bär, rot")
IMAGES = (
    PredictedImage("a.png", 64, 48, (Box("cat", (1.234, 2, 30, 40.5)), Box(CLASSES[1], (0, 0, 64, 48))), (0.9, 0.5)),
    PredictedImage("more/b.png", 64, 48, (Box(CLASSES[2], (10, 10, 20.25, 20)),), (0.75,)),
    PredictedImage("more/c.png", 64, 48, (), ()),
)


FILES = {"coco": "annotations.json", "csv": "annotations.csv", "label-studio": "tasks.json", "cvat": "annotations.xml"}


def write(name: str, images: tuple[PredictedImage, ...], out: Path) -> None:
    writer = WRITTEN_FORMATS[name].open(out, CLASSES)
    for image in images:
        writer.add(image)
    writer.close()


@pytest.mark.parametrize("name", WRITTEN_FORMATS)
def test_a_written_format_is_read_back_to_the_same_boxes(tmp_path, name):
    save_images(tmp_path / "images", {image.name: [] for image in IMAGES})
    write(name, IMAGES, tmp_path)
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
    write(name, IMAGES, tmp_path)
    assert "0.75" in (tmp_path / FILES[name]).read_text(encoding="utf-8")


def test_label_studio_tasks_are_predictions(tmp_path):
    write("label-studio", IMAGES[:1], tmp_path)
    path = tmp_path / "tasks.json"
    (task,) = json.loads(path.read_text(encoding="utf-8"))
    value = task["predictions"][0]["result"][1]["value"]
    assert value == {"x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0, "rectanglelabels": ["R&D <50%>"]}


@pytest.mark.parametrize("name", ["voc", "yolo"])
def test_images_that_would_share_a_file_are_an_error(name):
    check_names(["a.jpg", "b/a.png"], [name])
    with pytest.raises(AnnotationError, match=r"a\.jpg and a\.png would both have the label file of a; rename one"):
        check_names(["a.jpg", "a.png"], ["csv", name])
    check_names(["a.jpg", "a.png"], ["csv", "coco"])


@pytest.mark.parametrize("name", [name for name in WRITTEN_FORMATS if name != "coco"])
def test_a_format_is_complete_after_each_image(tmp_path, name):
    save_images(tmp_path / "images", {image.name: [] for image in IMAGES})
    writer = WRITTEN_FORMATS[name].open(tmp_path, CLASSES)
    for count, image in enumerate(IMAGES[:2], start=1):
        writer.add(image)
        found = [row for row in read_source(tmp_path).images if row.boxes]
        assert len(found) == count
    writer.close()

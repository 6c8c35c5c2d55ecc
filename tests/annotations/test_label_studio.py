import json

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.label_studio import read_label_studio
from retinanet.errors import AnnotationError

# Percent of 64 x 48.
RECTANGLE = {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}


def read(root, *tasks, column=""):
    save_images(root / "images", {"a.png": []})
    (root / "tasks.json").write_text(json.dumps(list(tasks)))
    return read_label_studio(SourceFiles(root), column)


def task(*values, key="annotations", **extra):
    result = [{"type": "rectanglelabels", "value": value, "original_width": 64} for value in values]
    return {"id": 1, "data": {"image": "/data/upload/1/a.png", "patient": 3}, key: [{"result": result} | extra]}


@pytest.mark.parametrize(
    ("value", "xyxy"),
    [
        (RECTANGLE, (16, 12, 48, 36)),
        (RECTANGLE | {"rotation": 90}, (-8, 12, 16, 44)),  # around the corner (16, 12)
        ({"points": [[25, 25], [50, 25], [50, 75]], "polygonlabels": ["cat"]}, (16, 12, 32, 36)),
        ({"x": 50, "y": 50, "radiusX": 25, "radiusY": 50, "ellipselabels": ["cat"]}, (16, 0, 48, 48)),
        ({"x": 50, "y": 50, "radiusX": 25, "radiusY": 0, "rotation": 90, "ellipselabels": ["cat"]}, (32, 8, 32, 40)),
    ],
)
def test_shapes_become_boxes(tmp_path, value, xyxy):
    (image,) = read(tmp_path, task(value), column="patient").images
    assert (image.file.name, image.group, image.boxes[0].class_name) == ("a.png", "3", "cat")
    assert image.boxes[0].xyxy == pytest.approx(xyxy)


def test_predictions_count_without_annotations_and_canceled_ones_do_not(tmp_path):
    assert len(read(tmp_path / "a", task(RECTANGLE, key="predictions")).images[0].boxes) == 1
    found = read(tmp_path / "b", task(RECTANGLE, was_cancelled=True))
    assert (found.images, len(found.remarks)) == ([], 1)
    assert "1 tasks without an annotation are left out" in found.remarks[0]


def test_of_several_annotations_the_ground_truth_counts(tmp_path):
    entry = task(RECTANGLE)
    entry["annotations"].append({"result": [], "ground_truth": True})
    found = read(tmp_path, entry)
    assert found.images[0].boxes == ()
    assert "1 tasks have several annotations" in found.remarks[0]


def test_shapes_of_a_labels_tag_and_with_several_labels_are_read(tmp_path):
    value = {key: RECTANGLE[key] for key in ("x", "y", "width", "height")} | {"labels": ["cat", "dog"]}
    assert [box.class_name for box in read(tmp_path, task(value)).images[0].boxes] == ["cat", "dog"]


def test_brush_strokes_are_counted_and_not_read(tmp_path):
    found = read(tmp_path, task({"format": "rle", "rle": [0], "brushlabels": ["cat"]}))
    assert found.images[0].boxes == ()
    assert "1 brush strokes and key points are not read" in found.remarks[0]


def test_an_image_without_the_key_rotation_and_a_quoted_url_is_read(tmp_path):
    entry = task(RECTANGLE)
    entry["data"]["image"] = "https://host/images/a%2Epng?token=1"
    assert len(read(tmp_path, entry).images) == 1


def test_json_min_is_read(tmp_path):
    row = {"image": "/data/upload/1/a.png", "id": 1, "label": [RECTANGLE | {"original_width": 64}], "annotator": 1}
    assert read(tmp_path, row).images[0].boxes[0].xyxy == (16, 12, 48, 36)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (task(RECTANGLE | {"x": "left"}), "task 1 has a shape"),
        (task(RECTANGLE | {"rectanglelabels": [""]}), "class name ''"),
        ({"id": 1, "data": {"text": "hello"}, "annotations": []}, "file name"),
        ({"id": 1, "data": {"image": "a.png", "second": "b.png"}, "annotations": []}, "several images: a.png, b.png"),
        (task(RECTANGLE | {"rectanglelabels": None}), "labels None"),
        (task(RECTANGLE | {"rectanglelabels": "cat"}), "labels 'cat'"),
        (task(RECTANGLE | {"rotation": "abc"}), "task 1 has a shape"),
        (task({"points": [[1, None]], "polygonlabels": ["cat"]}), "task 1 has points"),
    ],
)
def test_invalid_tasks_are_errors(tmp_path, entry, message):
    with pytest.raises(AnnotationError, match=rf"tasks\.json: .*{message}"):
        read(tmp_path, entry)

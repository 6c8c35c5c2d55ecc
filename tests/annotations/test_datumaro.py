import json

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.datumaro import read_datumaro
from retinanet.annotations.files import SourceFiles
from retinanet.errors import AnnotationError


def read(root, *rows, subset="train", labels=("cat", "dog"), column=""):
    save_images(root / "images" / subset, {"a.png": []})
    item = {"id": "a", "image": {"path": "a.png", "size": [48, 64]}, "annotations": list(rows), "attr": {"patient": 3}}
    categories = {"label": {"labels": [{"name": name, "parent": ""} for name in labels]}}
    (root / "annotations").mkdir(exist_ok=True)
    content = {"info": {}, "categories": categories, "items": [item]}
    (root / "annotations" / f"{subset}.json").write_text(json.dumps(content))
    return read_datumaro(SourceFiles(root), column)


@pytest.mark.parametrize(
    ("row", "xyxy"),
    [
        ({"type": "bbox", "bbox": [1, 2, 29, 38]}, (1, 2, 30, 40)),
        ({"type": "polygon", "points": [1, 2, 9, 4, 5, 8]}, (1, 2, 9, 8)),
        ({"type": "ellipse", "points": [1, 2, 9, 8]}, (1, 2, 9, 8)),
        ({"type": "rotated_bbox", "bbox": [10, 20, 8, 8, 180]}, (6, 16, 14, 24)),
    ],
)
def test_shapes_become_boxes(tmp_path, row, xyxy):
    found = read(tmp_path, row | {"label_id": 1}, {"type": "caption", "caption": "x"}, column="patient")
    (image,) = found.images
    assert (image.size, image.split, image.group) == ((64, 48), "train", "3")
    (box,) = image.boxes
    assert (box.class_name, box.xyxy) == ("dog", pytest.approx(xyxy))
    assert found.class_names == ["cat", "dog"]


def test_masks_are_counted_and_not_read(tmp_path):
    found = read(tmp_path, {"type": "mask", "label_id": 0, "rle": {}})
    assert found.images[0].boxes == ()
    assert "1 annotations are not read: mask" in found.remarks[0]


def test_files_are_splits_if_they_are_called_like_one(tmp_path):
    read(tmp_path, subset="default")
    found = read(tmp_path, subset="val")
    assert {image.file.parent.name: image.split for image in found.images} == {"default": None, "val": "val"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"type": "bbox", "bbox": [1, 2, 3, 4], "label_id": 2}, "has label_id 2; it must be 0 to 1"),
        ({"type": "bbox", "bbox": [1, 2], "label_id": 0}, "has a bbox"),
        ({"type": "polygon", "points": [1, 2, 3, 4, 5], "label_id": 0}, "has a polygon"),
    ],
)
def test_invalid_annotations_are_errors(tmp_path, row, message):
    with pytest.raises(AnnotationError, match=f"train.json: item 'a' {message}"):
        read(tmp_path, row)

import json

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.labelme import read_labelme
from retinanet.errors import AnnotationError


def shape(points, label="cat", kind="rectangle"):
    return {"label": label, "points": points, "shape_type": kind}


def write(root, name, shapes, image_path="a.png", **extra):
    content = {"shapes": shapes, "imagePath": image_path, "imageWidth": 64, "imageHeight": 48} | extra
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("points", "kind", "xyxy"),
    [
        ([[30, 40], [1, 2]], "rectangle", (1, 2, 30, 40)),
        ([[1, 2], [9, 4], [5, 8]], "polygon", (1, 2, 9, 8)),
        ([[10, 20], [13, 24]], "circle", (5, 15, 15, 25)),
    ],
)
def test_shapes_become_boxes(tmp_path, points, kind, xyxy):
    save_images(tmp_path, {"a.png": []})
    write(tmp_path, "a.json", [shape(points, kind=kind)])
    (image,) = read_labelme(SourceFiles(tmp_path)).images
    assert (image.file, image.size, image.boxes[0].xyxy) == (tmp_path / "a.png", (64, 48), xyxy)


def test_the_image_is_found_by_base_name_and_then_by_its_path(tmp_path):
    save_images(tmp_path, {"images/train/a.png": [], "images/val/b.png": []})
    write(tmp_path, "json/train/a.json", [], "x.png")
    write(tmp_path, "json/val/c.json", [], "..\\..\\images\\val\\b.png", flags={"patient": 3})
    found = read_labelme(SourceFiles(tmp_path), "patient")
    assert [(image.file.name, image.split, image.group) for image in found.images] == [
        ("a.png", "train", None),
        ("b.png", "val", "3"),
    ]


def test_missing_images_and_images_without_a_file_are_reported(tmp_path):
    save_images(tmp_path, {"b.png": []})
    write(tmp_path, "a.json", [])
    found = read_labelme(SourceFiles(tmp_path))
    assert (found.images, found.skipped[0].file) == ([], "a.png")
    assert found.remarks == ["1 images have no JSON file and are left out"]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (3, "shapes is not a list"),
        ([shape([[1, 2], [3, 4]], label="")], "shape 1 has class name ''"),
        ([shape([[1, "2"], [3, 4]])], "shape 1 has points"),
        ([shape([])], "shape 1 has points"),
    ],
)
def test_invalid_shapes_are_errors(tmp_path, shapes, message):
    save_images(tmp_path, {"a.png": []})
    write(tmp_path, "a.json", shapes)
    with pytest.raises(AnnotationError, match=rf"a\.json: {message}"):
        read_labelme(SourceFiles(tmp_path))

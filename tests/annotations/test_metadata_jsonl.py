import json

import pytest
from support.prepare_workspace import save_images, write_metadata

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.metadata_jsonl import read_metadata_source
from retinanet.errors import AnnotationError

OBJECTS = {"a.png": [("cat", (1, 2, 30, 40)), ("dog", (0, 0, 64, 48))], "b.png": []}


def read(root, *rows: object, column: str = ""):
    save_images(root, {"a.png": [], "b.png": []})
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (root / "metadata.jsonl").write_text(text, encoding="utf-8")
    return read_metadata_source(SourceFiles(root), column)


def test_each_line_is_an_image(tmp_path):
    write_metadata(tmp_path, OBJECTS)
    found = read_metadata_source(SourceFiles(tmp_path))
    assert [[(box.class_name, box.xyxy) for box in p.boxes] for p in found.images] == list(OBJECTS.values())


def test_objects_may_be_a_list_and_categories_numbers(tmp_path):
    found = read(tmp_path, {"file_name": "a.png", "objects": [{"bbox": [1, 2, 3, 4], "category": 5}]})
    assert [(box.class_name, box.xyxy) for box in found.images[0].boxes] == [("5", (1, 2, 4, 6))]


def test_lines_without_objects_are_images_without_boxes(tmp_path):
    rows = [{"file_name": "a.png"}, {"file_name": "b.png", "objects": {"bbox": [], "categories": []}}]
    assert [image.boxes for image in read(tmp_path, *rows).images] == [(), ()]


def test_splits_are_folders_and_group_column_is_a_key(tmp_path):
    for split in ("train", "validation"):
        read(tmp_path / split, {"file_name": "a.png", "patient": 3})
    found = read_metadata_source(SourceFiles(tmp_path), "patient")
    assert [(image.split, image.group) for image in found.images] == [("train", "3"), ("val", "3")]


def test_a_missing_image_is_skipped(tmp_path):
    assert read(tmp_path, {"file_name": "gone.png"}).skipped[0].file == "gone.png"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "broken JSON"),
        ("[1]", "must be an object"),
        ({"objects": {}}, "has file name None"),
        ({"file_name": "a.png", "objects": 3}, "has objects 3"),
        ({"file_name": "a.png", "bbox": [[1, 2, 3, 4]]}, "has boxes outside of objects"),
        ({"file_name": "a.png", "objects": {"bboxes": [[1, 2, 3, 4]]}}, "has objects with bboxes"),
        ({"file_name": "a.png", "objects": {"bbox": [[1, 2, 3, 4]]}}, "of different lengths"),
        ({"file_name": "a.png", "objects": {"bbox": [[1, 2, 3]], "categories": ["cat"]}}, r"has bbox \[1, 2, 3\]"),
        ({"file_name": "a.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": [None]}}, "class name None"),
    ],
)
def test_invalid_lines_are_errors(tmp_path, row, message):
    with pytest.raises(AnnotationError, match=rf"metadata\.jsonl: line 2.*{message}"):
        read(tmp_path, {"file_name": "b.png"}, row)


def test_an_image_listed_twice_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"line 2: 'a\.png' is listed twice"):
        read(tmp_path, {"file_name": "a.png"}, {"file_name": "a.png"})

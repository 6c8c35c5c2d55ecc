import json

import pytest

from retinanet.annotations.coco_normal import read_coco_export
from retinanet.errors import AnnotationError


def read(tmp_path, *, image_id=1, category_id=1, encoding="utf-8", **annotation):
    content = {
        "images": [{"id": image_id, "file_name": "a.png"}],
        "categories": [{"id": category_id, "name": "cat"}],
        "annotations": [{"id": 0, "image_id": image_id, "category_id": category_id, "bbox": [1, 2, 3, 4]} | annotation],
    }
    (tmp_path / "a.json").write_text(json.dumps(content), encoding=encoding)
    return read_coco_export(tmp_path / "a.json")


@pytest.mark.parametrize(("given", "read_as"), [("7", 7), ("0", 0), (0, 0), (7.0, 7), ("img-a", 1)])
def test_ids_become_integers_and_references_follow(tmp_path, given, read_as):
    content = read(tmp_path, image_id=given, category_id=given)
    assert content["images"][0]["id"] == content["annotations"][0]["image_id"] == read_as
    assert content["categories"][0]["id"] == content["annotations"][0]["category_id"] == read_as


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 4, 2, 4, 6, 1, 6]],
        [[1, 2, 2, 3, 1, 3], [3, 5, 4, 6, 3, 6]],
        [1, 2, 4, 6, 1, 6],
        {"size": [8, 9], "counts": [10, 4, 4, 4, 4, 4, 42]},  # columns of 8: rows 2 to 5 of columns 1 to 3
    ],
)
def test_a_missing_box_is_that_of_the_segmentation(tmp_path, segmentation):
    for bbox in (None, []):
        (annotation,) = read(tmp_path, bbox=bbox, segmentation=segmentation)["annotations"]
        assert annotation["bbox"] == [1, 2, 3, 4]
        assert "segmentation" not in annotation


def test_a_given_box_wins_over_the_segmentation(tmp_path):
    assert read(tmp_path, segmentation=[[0, 0, 9, 9, 0, 9]])["annotations"][0]["bbox"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "segmentation",
    [
        *(None, [], [[1, 2, 3]], [["a", "b"]], [[1, 2, 3, 4], None], [[1, 2, 3, 4], 5], {"size": [8, 9]}, {}, 3),
        {"size": [0, 0], "counts": [0, 5]},
        {"size": [0, 64], "counts": "04"},
        {"size": [4, 4], "counts": "abc\u00ffddddddd"},
    ],
)
def test_an_annotation_without_any_box_is_an_error(tmp_path, segmentation):
    with pytest.raises(AnnotationError, match=r"annotation 0 has bbox None; it must be \[x, y, width, height\]"):
        read(tmp_path, bbox=None, segmentation=segmentation)


def test_a_byte_order_mark_is_read(tmp_path):
    assert read(tmp_path, encoding="utf-8-sig")["images"][0]["id"] == 1


def test_boxes_of_strings_are_an_error(tmp_path):
    with pytest.raises(AnnotationError, match=r"has bbox \['1', '2', '3', '4'\]"):
        read(tmp_path, bbox=["1", "2", "3", "4"])

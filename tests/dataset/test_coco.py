import json
from dataclasses import replace

import numpy as np
import pytest

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects, read_coco, write_coco
from retinanet.errors import AnnotationError
from retinanet.images.reading import Reading
from retinanet.inference.detections import Detections
from retinanet.inference.results import coco_results


def dataset() -> CocoDataset:
    boxes = np.array([[1, 2, 11, 22], [0.25, 0, 64, 48]], np.float32)
    none = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    some = Objects(boxes, np.array([1, 0]), np.array([False, True]), np.array([150.0, 3060.0], np.float32))
    images = (ImageInfo(7, "data/raw/ä b.png", 64, 48), ImageInfo(9, "data/raw/empty.png", 10, 10))
    return CocoDataset(images, ("cat", "dog"), (3, 90), {7: some, 9: none})


def changed(tmp_path, **sections):
    write_coco(dataset(), tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) | sections
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "a.json"


def test_read_coco_returns_what_write_coco_wrote(tmp_path):
    write_coco(dataset(), tmp_path / "a.json")
    again = read_coco(tmp_path / "a.json")
    assert (again.images, again.class_names, again.category_ids) == (dataset().images, ("cat", "dog"), (3, 90))
    np.testing.assert_array_equal(again.objects[7].boxes_xyxy, dataset().objects[7].boxes_xyxy)
    assert again.objects[7].labels.tolist() == [1, 0]
    assert again.objects[7].iscrowd.tolist() == [False, True]
    assert again.objects[7].areas.tolist() == [150.0, 3060.0]
    assert again.objects[9].boxes_xyxy.shape == (0, 4)


def test_the_same_dataset_gives_the_same_bytes(tmp_path):
    write_coco(dataset(), tmp_path / "a.json")
    write_coco(read_coco(tmp_path / "a.json"), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_write_coco_writes_one_row_per_line(tmp_path):
    write_coco(dataset(), tmp_path / "a.json")
    line = '{"id": 1, "image_id": 7, "category_id": 90, "bbox": [1.0, 2.0, 10.0, 20.0], "area": 150.0, "iscrowd": 0},'
    assert line in (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()


def test_read_coco_fills_missing_area_and_iscrowd(tmp_path):
    path = changed(tmp_path, annotations=[{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 5]}])
    objects = read_coco(path).objects[7]
    assert (objects.areas.tolist(), objects.iscrowd.tolist()) == ([20.0], [False])


def annotation(**values) -> dict:
    return {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 5]} | values


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"annotations": [annotation(), annotation()]}, "annotation id 1 occurs twice"),
        ({"annotations": [annotation(id=0)]}, "annotation id 0"),
        ({"annotations": [annotation(id="1")]}, "annotation id '1' is not an integer"),
        ({"annotations": [annotation(image_id=8)]}, "is for image 8"),
        ({"annotations": [annotation(image_id=[7])]}, r"is for image \[7\]"),
        ({"annotations": [annotation(category_id=4)]}, r"has category 4; the file's ids are \[3, 90\]"),
        ({"annotations": [annotation(category_id={})]}, "has category {}"),
        ({"annotations": [annotation(bbox=[0, 0, 4])]}, "has bbox"),
        ({"annotations": [annotation(bbox=[0, 0, "4", 5])]}, "has bbox"),
        ({"annotations": [annotation(bbox=[0, 0, 10**400, 5])]}, "has bbox"),
        ({"annotations": [annotation(bbox=[0, 0, 0, 5])]}, "must have a size"),
        ({"annotations": [annotation(bbox=[60, 0, 5, 5])]}, "lie inside the 64 x 48 image"),
        ({"annotations": [annotation(bbox=[0, 0, float("nan"), 5])]}, "must have a size"),
        ({"annotations": [annotation(iscrowd="no")]}, "has iscrowd 'no'"),
        ({"annotations": {}}, '"annotations" is not a list'),
        ({"images": [{"id": 7, "file_name": "../a.png", "width": 64, "height": 48}]}, "inside the folder"),
        ({"images": [{"id": 7, "file_name": "/a.png", "width": 64, "height": 48}]}, "must be relative"),
        ({"categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]}, "category id 3 occurs twice"),
        ({"categories": [{"id": 3, "name": ""}, {"id": 90, "name": "dog"}]}, "class name ''"),
    ],
)
def test_invalid_content_fails_with_its_id_and_value(tmp_path, sections, message):
    with pytest.raises(AnnotationError, match=rf"a\.json.*{message}"):
        read_coco(changed(tmp_path, **sections))


def test_image_without_a_size_fails(tmp_path):
    path = changed(tmp_path, images=[{"id": 7, "file_name": "a.png", "width": 0, "height": 48}], annotations=[])
    with pytest.raises(AnnotationError, match="image 7 has size 0 x 48"):
        read_coco(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00"])
def test_broken_json_fails(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"a\.json: broken JSON"):
        read_coco(tmp_path / "a.json")


def test_missing_file_fails(tmp_path):
    with pytest.raises(AnnotationError, match=r"none\.json: No such file"):
        read_coco(tmp_path / "none.json")


def test_coco_results_have_category_ids():
    boxes = np.array([[1, 2, 11, 22.004]], np.float32)
    found = Detections(boxes, np.array([0.12345678], np.float32), np.array([1]))
    (row,) = coco_results(7, found, (3, 90))
    assert row == {"image_id": 7, "category_id": 90, "bbox": [1.0, 2.0, 10.0, 20.0], "score": 0.123457}


def test_how_images_are_read_is_kept(tmp_path):
    reading = Reading(max_pixels=200_000_000, white_level=4095)
    write_coco(replace(dataset(), reading=reading), tmp_path / "a.json")
    assert read_coco(tmp_path / "a.json").reading == reading
    assert read_coco(changed(tmp_path, info={})).reading == Reading()
    with pytest.raises(AnnotationError, match="must be positive"):
        read_coco(changed(tmp_path, info={"white_level": 0}))


def test_group_of_an_image_is_written_and_read_again(tmp_path):
    images = (ImageInfo(1, "a.png", 10, 10, "scene 1"), ImageInfo(2, "b.png", 10, 10))
    empty = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    write_coco(CocoDataset(images, ("cat",), (1,), {1: empty, 2: empty}), tmp_path / "a.json")
    again = read_coco(tmp_path / "a.json").images
    assert again == images
    assert [image.unit for image in again] == ["group scene 1", "file b.png"]


def test_group_that_is_not_a_name_raises(tmp_path):
    image = {"id": 1, "file_name": "a.png", "width": 10, "height": 10, "group": 7}
    (tmp_path / "a.json").write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
    with pytest.raises(AnnotationError, match="image 1 has group 7; it must be a name"):
        read_coco(tmp_path / "a.json")

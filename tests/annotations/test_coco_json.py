import json

import pytest
from support.prepare_workspace import coco_content, save_images

from retinanet.annotations.coco_json import find_coco_files, read_coco_source
from retinanet.annotations.files import SourceFiles
from retinanet.errors import AnnotationError

OBJECTS = {"a.png": [("cat", (1, 2, 30, 40))], "b.png": [("dog", (0, 0, 64, 48))], "c.png": []}


def read(root, files: dict[str, dict], column: str = ""):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content), encoding="utf-8")
    return read_coco_source(SourceFiles(root), column)


def test_boxes_become_corners_and_ids_are_kept(tmp_path):
    save_images(tmp_path / "images", OBJECTS)
    content = coco_content(OBJECTS)
    content["categories"] = [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}, {"id": 91, "name": "bird"}]
    for annotation, category_id in zip(content["annotations"], (3, 90), strict=True):
        annotation["category_id"] = category_id
    found = read(tmp_path, {"a.json": content})
    assert found.category_ids == {"cat": 3, "dog": 90, "bird": 91}
    assert [box.xyxy for image in found.images for box in image.boxes] == [(1, 2, 30, 40), (0, 0, 64, 48)]
    assert [image.source_id for image in found.images] == [1, 2, 3]
    assert {image.split for image in found.images} == {None}
    assert found.images[0].size == (64, 48)


@pytest.mark.parametrize(
    ("area", "kept"), [(7.5, 7.5), (0, None), (-3, None), ("7", None), (None, None), (float("nan"), None)]
)
def test_an_invalid_area_is_ignored(tmp_path, area, kept):
    save_images(tmp_path, OBJECTS)
    content = coco_content(OBJECTS)
    content["annotations"][0] |= {"area": area, "iscrowd": 1, "segmentation": [[1, 2, 3, 4, 5, 6]]}
    box = read(tmp_path, {"a.json": content}).images[0].boxes[0]
    assert (box.area, box.iscrowd) == (kept, True)


def test_file_names_give_the_splits(tmp_path):
    """cocodataset.org's layout."""
    for split, names in (("train2017", "ab"), ("val2017", "c")):
        save_images(tmp_path / split, {f"{name}.png": [] for name in names})
    part = {name: coco_content({f"{n}.png": [] for n in names}) for name, names in (("train", "ab"), ("val", "c"))}
    found = read(
        tmp_path,
        {
            "annotations/instances_train2017.json": part["train"],
            "annotations/instances_val2017.json": part["val"],
            "annotations/captions_val2017.json": {"images": [], "annotations": [], "categories": []},
        },
    )
    assert [image.split for image in found.images] == ["train", "train", "val"]


def test_folder_names_give_the_splits(tmp_path):
    for split, name in (("train", "a.png"), ("valid", "b.png")):
        save_images(tmp_path / split, {name: []})
    files = {f"{s}/_annotations.coco.json": coco_content({n: []}) for s, n in (("train", "a.png"), ("valid", "b.png"))}
    assert [image.split for image in read(tmp_path, files).images] == ["train", "val"]


def test_words_of_names_give_the_splits_and_parts_of_words_do_not(tmp_path):
    save_images(tmp_path, {"a.png": [], "b.png": []})
    files = {"medieval.json": coco_content({"a.png": []}), "strains.json": coco_content({"b.png": []})}
    assert [image.split for image in read(tmp_path, files).images] == [None, None]


def test_folders_of_images_give_the_splits_if_no_file_does(tmp_path):
    save_images(tmp_path, {"train/a.png": [], "val/b.png": []})
    files = {"one.json": coco_content({"train/a.png": []}), "two.json": coco_content({"val/b.png": []})}
    assert [image.split for image in read(tmp_path, files).images] == ["train", "val"]


def test_instances_hide_only_the_other_files_of_their_folder(tmp_path):
    save_images(tmp_path, {"train/a.png": [], "valid/b.png": []})
    files = {"train/instances_default.json": coco_content({"a.png": []})}
    files |= {"valid/_annotations.coco.json": coco_content({"b.png": []})}
    files |= {"train/person_keypoints_default.json": coco_content({"a.png": []})}
    assert [image.split for image in read(tmp_path, files).images] == ["train", "val"]


def test_a_missing_image_is_not_taken_from_another_split(tmp_path):
    save_images(tmp_path, {"train/b.png": [], "valid/a.png": []})
    names = ["a.png", "/data/train/a.png"]
    for name in names:
        found = read(tmp_path, {"train/_annotations.coco.json": coco_content({name: []})})
        assert (found.images, found.skipped[0].file) == ([], name)


def test_a_missing_image_is_skipped(tmp_path):
    save_images(tmp_path, {"a.png": [], "c.png": []})
    found = read(tmp_path, {"a.json": coco_content(OBJECTS)})
    assert [image.file.name for image in found.images] == ["a.png", "c.png"]
    assert found.skipped[0].file == "b.png" and "missing" in found.skipped[0].reason


def test_an_image_in_two_files_is_refused(tmp_path):
    save_images(tmp_path, OBJECTS)
    files = {"train.json": coco_content(OBJECTS), "val.json": coco_content({"a.png": []})}
    with pytest.raises(AnnotationError, match=r"val\.json: 'a\.png' is listed twice, first in .*train\.json"):
        read(tmp_path, files)


def test_two_categories_of_one_name_in_a_file_are_refused(tmp_path):
    save_images(tmp_path, OBJECTS)
    second = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]}
    with pytest.raises(AnnotationError, match="categories 1 and 2 have the same name 'cat'"):
        read(tmp_path, {"train.json": coco_content(OBJECTS), "val.json": second})


@pytest.mark.parametrize(("dog", "cat"), [(1, 2), ("dog", "cat")])
def test_ids_that_contradict_other_files_are_replaced_because_names_decide(tmp_path, dog, cat):
    """In the first file, cat is 1 and dog 2; words as ids are numbered in the order of each file."""
    objects = {"a.png": [("cat", (1, 2, 31, 42))], "b.png": [("dog", (5, 5, 20, 20))]}
    save_images(tmp_path, objects)
    first = coco_content({"a.png": objects["a.png"]})
    first["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    first["annotations"][0]["category_id"] = 1
    second = coco_content({"b.png": objects["b.png"]})
    second["categories"] = [{"id": dog, "name": "dog"}, {"id": cat, "name": "cat"}]
    second["annotations"][0]["category_id"] = dog
    found = read(tmp_path, {"train.json": first, "val.json": second})
    assert {image.file.name: [box.class_name for box in image.boxes] for image in found.images} == {
        "a.png": ["cat"],
        "b.png": ["dog"],
    }
    assert (found.category_ids, found.class_names) == ({}, ["cat", "dog"])
    assert "1 is dog in val.json and cat elsewhere" in found.remarks[0]


def test_other_json_is_ignored_but_broken_json_is_an_error(tmp_path):
    (tmp_path / "settings.json").write_text("[1]")
    assert find_coco_files(SourceFiles(tmp_path)) == []
    (tmp_path / "half.json").write_text('{"images": [')
    with pytest.raises(AnnotationError, match=r"half\.json: broken JSON"):
        find_coco_files(SourceFiles(tmp_path))


def test_group_column_is_a_key_of_the_image(tmp_path):
    save_images(tmp_path, OBJECTS)
    content = coco_content(OBJECTS)
    content["images"][0]["video_id"] = 7
    assert [image.group for image in read(tmp_path, {"a.json": content}, "video_id").images] == ["7", None, None]


@pytest.mark.parametrize(
    "name",
    [
        "images\\a.png",
        "..\\..\\media\\upload\\4\\a.png",
        "/data/upload/4/a.png",
        "http://host/data/local-files/?d=x/a.png",
    ],
)
def test_paths_of_other_computers_are_matched_by_their_ends(tmp_path, name):
    """Label Studio's exports."""
    save_images(tmp_path / "images", {"a.png": [], "b.png": []})
    (image,) = read(tmp_path, {"result.json": coco_content({name: []})}).images
    assert image.file == tmp_path / "images/a.png"


def test_a_path_that_fits_two_images_is_refused(tmp_path):
    save_images(tmp_path, {"x/a.png": [], "y/a.png": []})
    with pytest.raises(AnnotationError, match=r"'D:\\\\a\.png' could be .*x/a\.png or .*y/a\.png"):
        read(tmp_path, {"a.json": coco_content({"D:\\a.png": []})})


def test_images_in_folders_called_like_splits_give_the_splits_of_one_file(tmp_path):
    save_images(tmp_path, {"train/a.png": [], "val/b.png": []})
    found = read(tmp_path, {"a.json": coco_content({"train/a.png": [], "val/b.png": []})})
    assert [image.split for image in found.images] == ["train", "val"]


def test_categories_that_only_group_are_left_out(tmp_path):
    """Roboflow adds the project as category 0, sometimes with the name of a class."""
    save_images(tmp_path, OBJECTS)
    content = coco_content(OBJECTS)
    for category in content["categories"]:
        category["supercategory"] = "cat"
    content["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})
    found = read(tmp_path, {"a.json": content})
    assert found.category_ids == {"cat": 1, "dog": 2}
    assert found.remarks == ["categories that only group others and have no objects are left out: cat"]

import pytest

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.pairing import image_folders, same_named_images
from retinanet.errors import AnnotationError


def folders_of(root, annotations: list[str], images: list[str]):
    for name in (*annotations, *images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = image_folders(SourceFiles(root), [root / a for a in annotations], [root / i for i in images])
    return {
        folder.relative_to(root).as_posix(): [one.relative_to(root).as_posix() for one in candidates]
        for folder, candidates in found.items()
    }


def test_the_folder_itself_is_the_best(tmp_path):
    assert folders_of(tmp_path, ["a/1.txt"], ["a/1.png", "images/2.png"]) == {"a": ["a"]}


def test_folders_with_common_names_belong_together(tmp_path):
    images = ["img/cam1/1.png", "img/cam2/1.png"]
    assert folders_of(tmp_path, ["xml/cam1/1.xml", "xml/cam2/1.xml"], images) == {
        "xml/cam1": ["img/cam1"],
        "xml/cam2": ["img/cam2"],
    }


def test_an_image_of_the_equal_name_is_preferred_to_one_in_another_case(tmp_path):
    for name in ("xml/A.xml", "xml/b.xml", "img/a.png", "img/A.png", "img/B.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = SourceFiles(tmp_path)
    annotations = files.with_suffix(".xml")
    found = same_named_images(image_folders(files, annotations, files.images()), annotations, files.images())
    named = {path.name: [image.name for image in images] for path, images in found.items()}
    assert named == {"A.xml": ["A.png"], "b.xml": ["B.PNG"]}


def test_masks_of_the_same_names_are_not_the_images(tmp_path):
    images = ["SegmentationClass/1.png", "JPEGImages/1.jpg"]
    assert folders_of(tmp_path, ["Annotations/1.xml"], images)["Annotations"][0] == "JPEGImages"


def test_images_may_lie_in_several_folders_but_not_in_that_of_others(tmp_path):
    found = folders_of(tmp_path, ["xml/1.xml", "xml/2.xml", "c/3.xml", "xml/3.xml"], ["a/1.png", "b/2.png", "c/3.png"])
    assert (set(found["xml"]), found["c"]) == ({"a", "b"}, ["c"])


def test_two_equally_good_images_are_an_error(tmp_path):
    with pytest.raises(AnnotationError, match=r"its image could be in \S+ or in \S+; remove one"):
        folders_of(tmp_path, ["xml/a.xml", "xml/b.xml"], ["one/a.png", "one/b.png", "two/a.png"])


def test_folders_of_other_splits_do_not_belong(tmp_path):
    assert folders_of(tmp_path, ["train/labels/1.txt"], ["valid/images/1.png"]) == {"train/labels": []}

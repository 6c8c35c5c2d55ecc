import pytest
from support.prepare_workspace import save_images, voc_xml

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.voc import read_voc
from retinanet.errors import AnnotationError

BOX = [("cat", (1, 2, 30, 40))]


def devkit(root, splits: dict[str, str], names: str = "abc", encoding: str = "utf-8", mark: str = ""):
    """Read a folder in VOC's layout, with an image and an XML file for each name; splits: {list file: its text}."""
    save_images(root / "JPEGImages", {f"{name}.png": [] for name in names})
    (root / "Annotations").mkdir()
    for name in names:
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(f"{name}.png", BOX))
    (root / "ImageSets/Main").mkdir(parents=True)
    for name, text in splits.items():
        (root / "ImageSets/Main" / name).write_text(mark + text, encoding=encoding)
    return read_voc(SourceFiles(root))


def test_official_splits_are_read(tmp_path):
    found = devkit(tmp_path, {"train.txt": "a\n", "val.txt": "b\n", "test.txt": "c\n"})
    assert [image.split for image in found.images] == ["train", "val", "test"]


def test_folders_of_lists_may_have_names_in_any_case(tmp_path):
    devkit(tmp_path, {"train.txt": "a\n", "val.txt": "b\n", "test.txt": "c\n"})
    (tmp_path / "ImageSets/Main").rename(tmp_path / "ImageSets/main")
    (tmp_path / "ImageSets").rename(tmp_path / "imagesets")
    found = read_voc(SourceFiles(tmp_path))
    assert [image.split for image in found.images] == ["train", "val", "test"]


def test_trainval_is_read_as_train_beside_a_test_list(tmp_path):
    found = devkit(tmp_path, {"trainval.txt": "a\nb\n", "test.txt": "c\n"})
    assert [image.split for image in found.images] == ["train", "train", "test"]


def test_marks_after_the_names_in_class_lists_are_ignored(tmp_path):
    assert devkit(tmp_path, {"train.txt": "a  1\nb -1\n"}).images[1].split == "train"


def test_a_name_in_two_splits_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="b is in the train and the test split"):
        devkit(tmp_path, {"train.txt": "a\nb\n", "test.txt": "b\n"})


def test_a_listed_name_without_annotation_is_skipped(tmp_path):
    found = devkit(tmp_path, {"train.txt": "a\nghost\n"})
    assert [(one.file[-9:], one.reason) for one in found.skipped] == [
        ("ghost.xml", "listed in the official train split, but missing")
    ]


def test_a_list_that_is_not_utf8_is_an_error(tmp_path):
    with pytest.raises(AnnotationError, match=r"train\.txt: not UTF-8"):
        devkit(tmp_path, {"train.txt": "a\n"}, encoding="latin-1", mark="\xff")


def test_lists_may_name_paths_in_subfolders(tmp_path):
    """CVAT's subsets, beside a list of another name."""
    save_images(tmp_path / "JPEGImages", {"cam1/0.png": [], "cam2/0.png": []})
    for camera in ("cam1", "cam2"):
        (tmp_path / "Annotations" / camera).mkdir(parents=True)
        (tmp_path / "Annotations" / camera / "0.xml").write_text(voc_xml(f"{camera}/0.png", BOX))
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/Train.txt").write_text("cam1/0\n")
    (tmp_path / "ImageSets/Main/Validation.txt").write_text("cam2/0\n")
    (tmp_path / "ImageSets/Main/default.txt").write_text("cam2/0\n")
    assert [image.split for image in read_voc(SourceFiles(tmp_path)).images] == ["train", "val"]

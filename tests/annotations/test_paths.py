import pytest

from retinanet.annotations.paths import find_file, find_folder, read_lines
from retinanet.dataset.coco_file import check_class_name, check_file_name
from retinanet.errors import AnnotationError


@pytest.mark.parametrize("name", ["a.png", "b c/ä.png", "a\nb.png", "..a.png", "a..b/c.png"])
def test_paths_inside_the_folder_are_accepted(name):
    check_file_name(name, "x.json: image 1")


@pytest.mark.parametrize(
    "name", ["../a.png", "a/../../b.png", "/etc/passwd", "C:\\a.png", "..\\a.png", "\\a.png", "", None, 3, "a\0b"]
)
def test_paths_outside_of_the_folder_are_refused(name):
    with pytest.raises(AnnotationError, match=r"x\.json: image 1 has file name"):
        check_file_name(name, "x.json: image 1")


def test_a_lone_surrogate_is_not_a_name():
    for check in (check_file_name, check_class_name):
        with pytest.raises(AnnotationError, match="name"):
            check("\ud800", "x")


def test_the_first_folder_that_has_it(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "in").mkdir(parents=True)
    (tmp_path / "two" / "a.png").touch()
    folders = [tmp_path / "one", tmp_path / "two"]
    assert find_file(folders, "a.png") == tmp_path / "two" / "a.png"
    assert find_folder(folders, "in") == tmp_path / "one" / "in"
    assert find_file(folders, "b.png") is None


def test_a_name_longer_than_the_file_system_allows_is_not_found(tmp_path):
    assert find_file([tmp_path], "a" * 5000) is None
    assert find_folder([tmp_path], "a" * 5000) is None


def test_text_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_bytes("Bär".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"a\.txt: not UTF-8"):
        read_lines(tmp_path / "a.txt")

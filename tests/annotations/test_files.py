import pytest

from retinanet.annotations.files import Outline, SourceFiles, read_lines
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


def files_at(root, *names: str) -> SourceFiles:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return SourceFiles(root)


def test_hidden_files_and_system_folders_are_left_out(tmp_path):
    files = files_at(
        tmp_path, "a.png", "._a.png", "__MACOSX/._a.png", ".ipynb_checkpoints/a.png", "x/@eaDir/a.png", "x/b.PNG"
    )
    assert files.images() == [tmp_path / "a.png", tmp_path / "x/b.PNG"]


def test_find_takes_the_first_folder_and_stays_inside(tmp_path):
    files = files_at(tmp_path / "root", "one/b.png", "two/a.png", "two/b.png")
    folders = [tmp_path / "root/one", tmp_path / "root/two"]
    assert files.find(folders, "a.png") == tmp_path / "root/two/a.png"
    assert files.find(folders, "b.png") == tmp_path / "root/one/b.png"
    assert files.find([tmp_path / "root"], ".\\two\\a.png") == tmp_path / "root/two/a.png"
    for name in ("c.png", "../two/a.png", "a" * 5000, "/etc/passwd", "C:\\a.png", "~/a.png", ""):
        assert files.find(folders, name) is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/home/me/x/a.png", "x/a.png"),
        ("C:\\data\\x\\A.PNG", "x/a.png"),
        ("../../x/a.png", "x/a.png"),
        ("~/b.png", "y/b.png"),
        ("elsewhere/b.png", "y/b.png"),
        ("x/b.png", None),  # x is there, without b.png
        ("/home/me/c.png", None),
    ],
)
def test_paths_of_other_computers_are_located_by_their_ends(tmp_path, name, found):
    files = files_at(tmp_path, "x/a.png", "y/a.png", "y/b.png")
    located = files.locate([name], [tmp_path], tmp_path / "list.txt")
    assert located == ({name: tmp_path / found} if found else {})


def test_a_file_that_another_name_matches_is_no_candidate(tmp_path):
    files = files_at(tmp_path, "x/a.png")
    names = ["x/a.png", "/home/me/y/a.png"]
    assert files.locate(names, [tmp_path], tmp_path / "list.txt") == {"x/a.png": tmp_path / "x/a.png"}


def test_two_readings_are_an_error(tmp_path):
    files = files_at(tmp_path, "x/a.png", "y/a.png", "b.png")
    with pytest.raises(AnnotationError, match=r"list\.txt: '/z/a\.png' could be .*x/a\.png or .*y/a\.png"):
        files.locate(["/z/a.png"], [tmp_path], tmp_path / "list.txt")
    with pytest.raises(AnnotationError, match=r"'/p/b\.png' and '/q/b\.png' could both be"):
        files.locate(["/p/b.png", "/q/b.png"], [tmp_path], tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("name", "list_file", "found"),
    [
        ("a.png", "list.txt", True),
        ("a.PNG", "list.txt", True),
        ("a", "list.txt", True),  # a frame of a video
        ("/home/me/images/a.png", "list.txt", True),
        ("/home/me/cam1/a.png", "list.txt", False),  # cam1 is there, without a.png
        ("/home/me/train/a.png", "list.txt", False),
        ("a.png", "train.txt", False),
    ],
)
def test_an_image_of_another_folder_or_split_is_not_taken(tmp_path, name, list_file, found):
    files = files_at(tmp_path, "val/a.png", "cam1/b.png")
    assert bool(files.locate([name], [tmp_path], tmp_path / list_file)) == found


def test_the_names_of_folders_above_the_root_do_not_count(tmp_path):
    """As for images at the root of data/raw that were labeled in a folder called data."""
    files = files_at(tmp_path / "data" / "raw", "a.png")
    name = "C:\\project\\data\\a.png"
    assert files.locate([name], [files.root], files.root / "list.txt") == {name: files.root / "a.png"}


def test_a_bare_name_is_missing_if_others_are_beside(tmp_path):
    files = files_at(tmp_path, "cam1/a.png", "cam2/b.png")
    located = files.locate(["a.png", "b.png"], [tmp_path / "cam1"], tmp_path / "list.txt")
    assert located == {"a.png": tmp_path / "cam1/a.png"}


def test_text_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_bytes("Bär".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"a\.txt: not UTF-8"):
        read_lines(tmp_path / "a.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_with_a_byte_order_mark_and_crlf_is_read(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("Bär\r\nx".encode(encoding))
    assert read_lines(tmp_path / "a.txt") == ["Bär", "x"]


def test_the_outline_of_json_has_the_keys_of_the_first_objects(tmp_path):
    (tmp_path / "a.json").write_text('[{"data": {"image": 1}, "id": 2}, {"other": 3}]')
    (tmp_path / "b.json").write_text("3")
    (tmp_path / "c.json").write_text("{")
    files = SourceFiles(tmp_path)
    outline = Outline(frozenset({"data", "id"}), Outline(frozenset({"image"}), None), is_list=True)
    assert files.json_outline(tmp_path / "a.json") == outline
    assert files.json_outline(tmp_path / "b.json") is None
    with pytest.raises(AnnotationError, match=r"c\.json: broken JSON"):
        files.json_outline(tmp_path / "c.json")

import pytest
from support.prepare_workspace import save_images, voc_xml

from retinanet.annotations.voc import find_voc_files, looks_like_voc, read_voc
from retinanet.errors import AnnotationError

BOX = [("cat", (1, 2, 30, 40))]


def devkit(root, splits: dict[str, str], names: str = "abc"):
    """Read a folder in VOC's layout, with an image and an XML file for each name; splits: {list file: its text}."""
    save_images(root / "JPEGImages", {f"{name}.png": [] for name in names})
    (root / "Annotations").mkdir()
    for name in names:
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(f"{name}.png", BOX))
    (root / "ImageSets/Main").mkdir(parents=True)
    for name, text in splits.items():
        (root / "ImageSets/Main" / name).write_text(text)
    return read_voc(root)


def beside(root, xml: str, image: str = "a.png"):
    save_images(root, {image: []})
    (root / "a.xml").write_text(xml, encoding="utf-8")
    return read_voc(root)


def test_boxes_and_size_are_kept_as_written(tmp_path):
    (image,) = beside(tmp_path, voc_xml("a.png", [("cat", (1, 2, 64, 48)), ("dög", (0.5, 1, 2, 3))])).images
    assert image.file == tmp_path / "a.png"
    assert image.size == (64, 48)
    assert [(box.class_name, box.xyxy) for box in image.boxes] == [("cat", (1, 2, 64, 48)), ("dög", (0.5, 1, 2, 3))]


def test_an_image_without_objects_is_kept(tmp_path):
    assert beside(tmp_path, voc_xml("a.png", [])).images[0].boxes == ()


def test_difficult_objects_become_crowds(tmp_path):
    xml = voc_xml("a.png", BOX).replace("<bndbox>", "<difficult>1</difficult><bndbox>")
    assert beside(tmp_path, xml).images[0].boxes[0].iscrowd


def test_the_name_of_the_xml_file_wins_over_its_filename_element(tmp_path):
    save_images(tmp_path, {"other.png": []})
    assert beside(tmp_path, voc_xml("other.png", BOX)).images[0].file == tmp_path / "a.png"


def test_the_filename_element_is_used_if_no_image_has_the_name_of_the_xml_file(tmp_path):
    assert beside(tmp_path, voc_xml("other.png", BOX), "other.png").images[0].file == tmp_path / "other.png"


def test_a_missing_image_is_skipped(tmp_path):
    found = beside(tmp_path, voc_xml("gone.png", BOX), "else.png")
    assert found.images == []
    assert found.skipped[0].file.endswith("a.xml") and "gone.png" in found.skipped[0].reason
    assert found.remarks == ["1 images have no XML file and are left out"]


def test_official_splits_are_read(tmp_path):
    found = devkit(tmp_path, {"train.txt": "a\n", "val.txt": "b\n", "test.txt": "c\n"})
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


def test_two_annotations_of_one_image_are_refused(tmp_path):
    (tmp_path / "b.xml").write_text(voc_xml("a.png", BOX))
    with pytest.raises(AnnotationError, match=r"b\.xml: .*a\.png has two annotations"):
        beside(tmp_path, voc_xml("a.png", BOX))


def test_group_column_may_be_the_path_of_an_element(tmp_path):
    save_images(tmp_path, {"a.png": []})
    extra = "<source><patient>p7</patient></source>"
    (tmp_path / "a.xml").write_text(voc_xml("a.png", BOX, extra=extra))
    assert read_voc(tmp_path, "source/patient").images[0].group == "p7"
    assert read_voc(tmp_path, "source/doctor").images[0].group is None
    assert read_voc(tmp_path, "[").images[0].group is None


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation>", "broken XML"),
        ("", "broken XML"),
        ("<?xml version='1.0' encoding='nonsense'?><annotation/>", "broken XML"),
        ("<annotation>&undeclared;</annotation>", "broken XML"),
        ("<!DOCTYPE a SYSTEM 'a.dtd'><annotation>&from_the_dtd;</annotation>", "has XML entities"),
        (voc_xml("a.png", [("", (1, 2, 3, 4))]), "object 1 has no name"),
        (voc_xml("a.png", [("cat", (1, 2, "x", 4))]), "object 1 has bndbox"),
        (voc_xml("a.png", [("cat", ("", 2, 3, 4))]), "it needs four numbers"),
    ],
)
def test_invalid_annotations_are_errors(tmp_path, xml, message):
    with pytest.raises(AnnotationError, match=rf"a\.xml: .*{message}"):
        beside(tmp_path, xml)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings_are_read_and_entities_refused_in_each(tmp_path, encoding):
    save_images(tmp_path, {"a.png": []})
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""  # utf-8-sig and utf-16 write their own
    header = "<?xml version='1.0' encoding='latin-1'?>" if encoding == "latin-1" else ""
    xml = tmp_path / "a.xml"
    xml.write_bytes((mark + header + voc_xml("a.png", [("dög", (1, 2, 3, 4))])).encode(encoding))
    assert find_voc_files(tmp_path) == [xml]
    assert read_voc(tmp_path).images[0].boxes[0].class_name == "dög"
    for declared in ("<!ENTITY b 'c'>", "<!ENTITY % b 'c'>", "<!ENTITY b SYSTEM 'file:///etc/passwd'>"):
        xml.write_bytes(f"{mark}{header}<!DOCTYPE a [{declared}]><annotation/>".encode(encoding))
        with pytest.raises(AnnotationError, match=r"a\.xml: has XML entities"):
            read_voc(tmp_path)


def test_a_path_outside_of_the_folder_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="inside the folder"):
        beside(tmp_path, voc_xml("../../etc/x.png", BOX), "else.png")


@pytest.mark.parametrize("side", ["0", "-5", "x", "inf", "nan"])
def test_an_invalid_size_is_ignored(tmp_path, side):
    xml = voc_xml("a.png", BOX).replace("<width>64</width>", f"<width>{side}</width>")
    assert beside(tmp_path, xml).images[0].size is None


def test_other_xml_is_ignored(tmp_path):
    (tmp_path / "pom.xml").write_text("<project/>")
    assert not looks_like_voc(tmp_path / "pom.xml")
    found = beside(tmp_path, voc_xml("a.png", BOX))
    assert looks_like_voc(tmp_path / "a.xml")
    assert len(found.images) == 1


def test_a_list_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(AnnotationError, match=r"train\.txt: not UTF-8"):
        read_voc(tmp_path)

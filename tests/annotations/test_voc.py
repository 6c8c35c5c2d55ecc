from pathlib import Path

import pytest
from support.prepare_workspace import save_images, voc_xml

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.voc import find_voc_files, read_voc
from retinanet.errors import AnnotationError

BOX = [("cat", (1, 2, 30, 40))]


def beside(root, xml: str, image: str = "a.png"):
    save_images(root, {image: []})
    (root / "a.xml").write_text(xml, encoding="utf-8")
    return read_voc(SourceFiles(root))


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


def test_two_annotations_of_one_image_are_refused(tmp_path):
    (tmp_path / "b.xml").write_text(voc_xml("a.png", BOX))
    with pytest.raises(AnnotationError, match=r"b\.xml: .*a\.png has two annotations"):
        beside(tmp_path, voc_xml("a.png", BOX))


def test_group_column_may_be_the_path_of_an_element(tmp_path):
    save_images(tmp_path, {"a.png": []})
    extra = "<source><patient>p7</patient></source>"
    (tmp_path / "a.xml").write_text(voc_xml("a.png", BOX, extra=extra))
    assert read_voc(SourceFiles(tmp_path), "source/patient").images[0].group == "p7"
    assert read_voc(SourceFiles(tmp_path), "source/doctor").images[0].group is None
    assert read_voc(SourceFiles(tmp_path), "[").images[0].group is None


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
    assert find_voc_files(SourceFiles(tmp_path)) == [xml]
    assert read_voc(SourceFiles(tmp_path)).images[0].boxes[0].class_name == "dög"
    for declared in ("<!ENTITY b 'c'>", "<!ENTITY % b 'c'>", "<!ENTITY b SYSTEM 'file:///etc/passwd'>"):
        xml.write_bytes(f"{mark}{header}<!DOCTYPE a [{declared}]><annotation/>".encode(encoding))
        with pytest.raises(AnnotationError, match=r"a\.xml: has XML entities"):
            read_voc(SourceFiles(tmp_path))


def test_a_path_outside_of_the_folder_is_looked_up_by_its_end(tmp_path):
    save_images(tmp_path.parent / "outside", {"x.png": []})
    found = beside(tmp_path, voc_xml("../outside/x.png", BOX), "else.png")
    assert (found.images, len(found.skipped)) == ([], 1)
    save_images(tmp_path / "images", {"x.png": []})
    assert read_voc(SourceFiles(tmp_path)).images[0].file == tmp_path / "images/x.png"


@pytest.mark.parametrize("side", ["0", "-5", "x", "inf", "nan"])
def test_an_invalid_size_is_ignored(tmp_path, side):
    xml = voc_xml("a.png", BOX).replace("<width>64</width>", f"<width>{side}</width>")
    assert beside(tmp_path, xml).images[0].size is None


def test_other_xml_is_ignored(tmp_path):
    (tmp_path / "pom.xml").write_text("<project/>")
    assert find_voc_files(SourceFiles(tmp_path)) == []
    found = beside(tmp_path, voc_xml("a.png", BOX))
    assert find_voc_files(SourceFiles(tmp_path)) == [tmp_path / "a.xml"]
    assert len(found.images) == 1


@pytest.mark.parametrize(
    ("xml", "image"),
    [
        ("Annotations/cam1/0.xml", "JPEGImages/cam1/0.png"),  # CVAT
        ("train/a.xml", "train/a.png"),  # Roboflow
        ("labels/a.xml", "data/a.png"),  # FiftyOne
        ("xml/a.xml", "img/a.png"),
        ("annotations/a.xml", "a.png"),  # labelImg with "Change Save Dir"
        ("Annotations/a.xml", "photos/2024/a.png"),
    ],
)
def test_the_image_of_the_same_name_is_found_in_any_folder(tmp_path, xml, image):
    save_images(tmp_path, {image: [], "JPEGImages/cam2/0.png": [], "other/b.png": []})
    (tmp_path / xml).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / xml).write_text(voc_xml(Path(image).name, BOX))
    assert [found.file for found in read_voc(SourceFiles(tmp_path)).images] == [tmp_path / image]


def test_equal_names_in_two_folders_keep_their_own_images(tmp_path):
    for camera in ("cam1", "cam2"):
        save_images(tmp_path / "JPEGImages" / camera, {"0.png": []})
        (tmp_path / "Annotations" / camera).mkdir(parents=True)
        (tmp_path / "Annotations" / camera / "0.xml").write_text(voc_xml("0.png", BOX))
    (tmp_path / "Annotations/cam2/1.xml").write_text(voc_xml("1.png", BOX))
    save_images(tmp_path / "JPEGImages/cam1", {"1.png": []})
    found = read_voc(SourceFiles(tmp_path))
    assert [image.file.parts[-2:] for image in found.images] == [("cam1", "0.png"), ("cam2", "0.png")]
    assert "its image is missing" in found.skipped[0].reason


def test_a_missing_image_is_not_taken_from_another_split(tmp_path):
    save_images(tmp_path, {"train/b.png": [], "val/a.png": []})
    for name in "ab":
        (tmp_path / "train" / f"{name}.xml").write_text(voc_xml(f"{name}.png", BOX))
    found = read_voc(SourceFiles(tmp_path))
    assert [image.file.name for image in found.images] == ["b.png"]
    assert found.skipped[0].file.endswith("a.xml")


def test_folders_of_images_give_the_splits_too(tmp_path):
    save_images(tmp_path, {"images/train/a.png": [], "images/val/b.png": []})
    (tmp_path / "annotations").mkdir()
    for name in "ab":
        (tmp_path / "annotations" / f"{name}.xml").write_text(voc_xml(f"{name}.png", BOX))
    assert [image.split for image in read_voc(SourceFiles(tmp_path)).images] == ["train", "val"]


def test_deleted_objects_and_angles_that_are_not_finite_are_no_boxes(tmp_path):
    deleted = "<object><name>cat</name><deleted>1</deleted></object>"
    rotated = "<robndbox><cx>20</cx><cy>20</cy><w>20</w><h>10</h><angle>inf</angle></robndbox>"
    extra = f"{deleted}<object><name>cat</name>{rotated}</object>"
    (box,) = beside(tmp_path, voc_xml("a.png", [], extra=extra)).images[0].boxes
    assert all(side != side for side in box.xyxy)


def test_folders_called_like_splits_give_the_splits(tmp_path):
    for folder in ("train", "valid", "test"):
        save_images(tmp_path / folder, {"a.png": []})
        (tmp_path / folder / "a.xml").write_text(voc_xml("a.png", BOX))
    splits = {image.file.parent.name: image.split for image in read_voc(SourceFiles(tmp_path)).images}
    assert splits == {"train": "train", "valid": "val", "test": "test"}


def test_a_filename_without_extension_is_completed_by_the_path(tmp_path):
    """labelImg writes the name without its extension."""
    extra = "<path>C:\\photos\\x0.png</path>"
    assert beside(tmp_path, voc_xml("x0", BOX, extra=extra), "x0.png").images[0].file == tmp_path / "x0.png"


def test_rotated_boxes_and_polygons_become_boxes_around_them(tmp_path):
    rotated = "<robndbox><cx>20</cx><cy>20</cy><w>20</w><h>10</h><angle>1.5707963</angle></robndbox>"
    polygon = "<polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>4</y2><x3>5</x3><y3>8</y3></polygon>"
    objects = "".join(f"<object><name>cat</name>{shape}</object>" for shape in (rotated, polygon))
    first, second = beside(tmp_path, voc_xml("a.png", [], extra=objects)).images[0].boxes
    assert first.xyxy == pytest.approx((15, 10, 25, 30), abs=1e-4)
    assert second.xyxy == (1, 2, 9, 8)

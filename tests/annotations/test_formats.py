import pytest
from support.prepare_workspace import (
    ROOT,
    save_images,
    some_objects,
    write_coco,
    write_csv,
    write_metadata,
    write_voc,
    write_yolo,
)

from retinanet.annotations.formats import FORMATS, read_source
from retinanet.errors import AnnotationError

WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo, "csv": write_csv, "metadata": write_metadata}


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_is_recognized_and_may_be_named(tmp_path, name):
    WRITERS[name](tmp_path, some_objects(3))
    for asked in ("auto", name):
        source = read_source(tmp_path, asked)
        assert source.format == name
        assert len(source.images) == 4
        assert sum(len(image.boxes) for image in source.images) == 4


def test_voc_goes_before_the_others_and_a_name_before_that(tmp_path):
    write_voc(tmp_path, some_objects(3))
    (tmp_path / "boxes.csv").write_text("images/p000.png,1,2,3,4,bird\n")
    assert read_source(tmp_path).format == "voc"
    assert len(read_source(tmp_path, "csv").images) == 1


def test_xml_of_another_kind_hides_no_format(tmp_path):
    write_yolo(tmp_path, some_objects(3))
    (tmp_path / "a.xml").write_text("<project/>")
    assert read_source(tmp_path).format == "yolo"


def test_an_empty_xml_is_broken_voc_where_there_is_nothing_else(tmp_path):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "a.xml").touch()
    with pytest.raises(AnnotationError, match=r"a\.xml: broken XML"):
        read_source(tmp_path)


def test_docs_name_each_format():
    docs = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"| `{name}` |" not in docs] == []


@pytest.mark.parametrize(("name", "said"), [("auto", "no Pascal VOC.*no COCO.*no YOLO"), ("csv", "no table of boxes")])
def test_nothing_found_is_said(tmp_path, name, said):
    save_images(tmp_path, {"a.png": []})
    with pytest.raises(AnnotationError, match=f"{said}.*prepare.format"):
        read_source(tmp_path, name)


def test_no_folder_is_said(tmp_path):
    with pytest.raises(AnnotationError, match="run the download stage first"):
        read_source(tmp_path / "none")


def test_each_image_is_a_group_of_its_own(tmp_path):
    write_coco(tmp_path, some_objects(2))
    assert [p.group for p in read_source(tmp_path).images] == [
        "images/p000.png",
        "images/p001.png",
        "images/p002.png",
    ]


def test_a_pattern_names_the_group(tmp_path):
    write_coco(tmp_path, {"v1_f1.png": [], "v1_f2.png": [], "v2_f1.png": [], "other.png": []})
    groups = [p.group for p in read_source(tmp_path, group_pattern=r"(v\d+)_f").images]
    assert groups == ["v1", "v1", "v2", "images/other.png"]


def test_a_pattern_or_column_that_fits_nothing_is_said(tmp_path):
    write_coco(tmp_path, some_objects(2))
    with pytest.raises(AnnotationError, match=r"group_pattern .* matches no path, for example 'images/p"):
        read_source(tmp_path, group_pattern=r"(patient \d)")
    with pytest.raises(AnnotationError, match=r"no image has 'patient'; correct prepare\.group_column"):
        read_source(tmp_path, group_column="patient")


def test_a_pattern_is_no_mistake_where_every_image_is_missing(tmp_path):
    (tmp_path / "boxes.csv").write_text("gone.png,1,2,3,4,bird\n")
    source = read_source(tmp_path, group_pattern=r"(v\d+)_f")
    assert (source.images, [one.file for one in source.skipped]) == ([], ["gone.png"])

import json

import pytest
from support.prepare_workspace import (
    sample_objects,
    save_images,
    write_coco,
    write_csv,
    write_metadata,
    write_voc,
    write_yolo,
)

from retinanet.annotations.formats import read_source
from retinanet.errors import AnnotationError

WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo, "csv": write_csv, "metadata": write_metadata}


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_is_read_with_auto_and_with_its_name(tmp_path, name):
    WRITERS[name](tmp_path, sample_objects(3))
    for asked in ("auto", name):
        source = read_source(tmp_path, asked)
        assert source.format == name
        assert len(source.images) == 4
        assert sum(len(image.boxes) for image in source.images) == 4


def test_auto_prefers_voc_and_a_name_overrides_it(tmp_path):
    write_voc(tmp_path, sample_objects(3))
    (tmp_path / "boxes.csv").write_text("images/p000.png,1,2,3,4,bird\n")
    source = read_source(tmp_path)
    assert source.format == "voc"
    (remark,) = source.remarks
    assert "annotations in several formats: voc is read, not csv" in remark and "prepare.format" in remark
    assert len(read_source(tmp_path, "csv").images) == 1


def test_other_xml_does_not_hide_a_format(tmp_path):
    write_yolo(tmp_path, sample_objects(3))
    (tmp_path / "a.xml").write_text("<project/>")
    assert read_source(tmp_path).format == "yolo"


def test_an_empty_xml_is_reported_as_broken_voc_if_no_format_is_recognized(tmp_path):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "a.xml").touch()
    with pytest.raises(AnnotationError, match=r"a\.xml: broken XML"):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("auto", "expected Pascal VOC.* or COCO.* or YOLO"), ("csv", "expected table of boxes")]
)
def test_a_folder_without_annotations_is_an_error(tmp_path, name, message):
    save_images(tmp_path, {"a.png": []})
    with pytest.raises(AnnotationError, match=f"{message}.*prepare.format"):
        read_source(tmp_path, name)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(AnnotationError, match="run the download stage first"):
        read_source(tmp_path / "none")


def test_without_group_settings_each_image_is_its_own_group(tmp_path):
    write_coco(tmp_path, sample_objects(2))
    assert [p.group for p in read_source(tmp_path).images] == [
        "images/p000.png",
        "images/p001.png",
        "images/p002.png",
    ]


def test_group_pattern_gives_the_group(tmp_path):
    write_coco(tmp_path, {"v1_f1.png": [], "v1_f2.png": [], "v2_f1.png": [], "other.png": []})
    groups = [p.group for p in read_source(tmp_path, group_pattern=r"(v\d+)_f").images]
    assert groups == ["v1", "v1", "v2", "images/other.png"]


def test_a_group_pattern_or_column_without_a_match_is_an_error(tmp_path):
    write_coco(tmp_path, sample_objects(2))
    with pytest.raises(AnnotationError, match=r"group_pattern .* matches no path, for example 'images/p"):
        read_source(tmp_path, group_pattern=r"(patient \d)")
    with pytest.raises(AnnotationError, match=r"no image has 'patient'; correct prepare\.group_column"):
        read_source(tmp_path, group_column="patient")


def test_a_group_pattern_is_not_an_error_if_every_image_is_missing(tmp_path):
    (tmp_path / "boxes.csv").write_text("gone.png,1,2,3,4,bird\n")
    source = read_source(tmp_path, group_pattern=r"(v\d+)_f")
    assert (source.images, [one.file for one in source.skipped]) == ([], ["gone.png"])


@pytest.mark.parametrize("name", ["labelme", "vott", "supervisely", "via", "datumaro", "coco"])
def test_a_list_around_an_annotation_is_not_recognized(tmp_path, name):
    contents = {
        "labelme": {"shapes": [], "imagePath": "a.png"},
        "vott": {"asset": {}, "regions": []},
        "supervisely": {"objects": [], "size": {}},
        "via": {"x": {"filename": "a.png", "regions": []}},
        "datumaro": {"items": [], "categories": {}},
        "coco": {"images": [], "annotations": [], "categories": []},
    }
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/a.png.json").write_text(json.dumps([contents[name]]))
    with pytest.raises(AnnotationError, match="no annotations found"):
        read_source(tmp_path)


def test_coordinates_relative_to_the_image_are_an_error(tmp_path):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "boxes.csv").write_text("a.png,0.1,0.2,0.5,0.6,cat\n")
    with pytest.raises(AnnotationError, match="shares of the images' sides; multiply them by the width and height"):
        read_source(tmp_path)


def test_a_broken_file_of_another_format_does_not_hide_the_recognized_one(tmp_path):
    write_voc(tmp_path, sample_objects(3))
    (tmp_path / "half.json").write_text("{")
    assert read_source(tmp_path).format == "voc"

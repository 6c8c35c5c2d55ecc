import json

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.via import read_via
from retinanet.errors import AnnotationError

RECT = {"name": "rect", "x": 1, "y": 2, "width": 29, "height": 38}


def read(root, *regions, column: str = "", **image):
    save_images(root, {"a.png": []})
    entry = {"filename": "a.png", "size": 99, "regions": list(regions), "file_attributes": {"patient": "7"}} | image
    (root / "via.json").write_text(json.dumps({"a.png99": entry}))
    return read_via(SourceFiles(root), column)


def region(shape=RECT, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


@pytest.mark.parametrize(
    ("shape", "xyxy"),
    [
        (RECT, (1, 2, 30, 40)),
        ({"name": "polygon", "all_points_x": [1, 9, 5], "all_points_y": [2, 4, 8]}, (1, 2, 9, 8)),
        ({"name": "circle", "cx": 10, "cy": 20, "r": 5}, (5, 15, 15, 25)),
        ({"name": "ellipse", "cx": 10, "cy": 20, "rx": 5, "ry": 6}, (5, 14, 15, 26)),
    ],
)
def test_regions_become_boxes(tmp_path, shape, xyxy):
    (image,) = read(tmp_path, region(shape, label="cat"), column="patient").images
    assert (image.boxes[0].class_name, image.boxes[0].xyxy, image.group) == ("cat", xyxy, "7")


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"animal": "cat"}, "cat"),
        ({"color": "red", "class": "cat"}, "cat"),
        ({"name": "not_defined", "type": "cat"}, "cat"),
        ({"type": {"dog": False, "cat": True}}, "cat"),
    ],
)
def test_the_class_is_the_only_attribute_or_the_one_called_like_a_class(tmp_path, attributes, name):
    assert read(tmp_path, region(**attributes)).images[0].boxes[0].class_name == name


def test_projects_have_the_images_in_a_section(tmp_path):
    read(tmp_path)
    content = json.loads((tmp_path / "via.json").read_text())
    (tmp_path / "via.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": content}))
    assert len(read_via(SourceFiles(tmp_path)).images) == 1


@pytest.mark.parametrize("content", [{"_via_img_metadata": None}, {"_via_img_metadata": {"a": 5}}])
def test_a_project_without_images_is_an_error(tmp_path, content):
    (tmp_path / "via.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match="an image has no list of regions"):
        read_via(SourceFiles(tmp_path))


@pytest.mark.parametrize(("encoding", "space"), [("utf-8-sig", ""), ("utf-16", ""), ("utf-8", " ")])
def test_csv_may_have_a_mark_and_spaces_in_its_header(tmp_path, encoding, space):
    save_images(tmp_path, {"a.png": []})
    header = f"filename,{space}region_shape_attributes,{space}region_attributes\n"
    row = 'a.png,"{""name"":""rect"",""x"":1,""y"":2,""width"":29,""height"":38}","{""class"":""cat""}"\n'
    (tmp_path / "via.csv").write_text(header + row, encoding=encoding)
    assert read_via(SourceFiles(tmp_path)).images[0].boxes[0].xyxy == (1, 2, 30, 40)


def test_csv_has_json_in_its_cells(tmp_path):
    save_images(tmp_path, {"a.png": [], "b.png": []})
    (tmp_path / "via.csv").write_text(
        "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
        'a.png,9,"{}",1,0,"{""name"":""rect"",""x"":1,""y"":2,""width"":29,""height"":38}","{""class"":""cat""}"\n'
        'b.png,9,"{}",0,0,"{}","{}"\n'
    )
    found = read_via(SourceFiles(tmp_path))
    assert [[box.xyxy for box in image.boxes] for image in found.images] == [[(1, 2, 30, 40)], []]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (region(a="cat", b="red"), r"attributes \['a', 'b'\]; name the one with the class `class`"),
        (region(label=""), "class name ''"),
        (region(type={"dog": True, "cat": True}), "of the classes dog, cat; check one"),
        (region({"name": "point", "cx": 1, "cy": 2}, label="cat"), "shape 'point', which has no box"),
        ({"region_attributes": {}}, "without shape_attributes"),
    ],
)
def test_invalid_regions_are_errors(tmp_path, entry, message):
    with pytest.raises(AnnotationError, match=rf"via\.json: a\.png .*{message}"):
        read(tmp_path, entry)

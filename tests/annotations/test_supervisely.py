import base64
import io
import json
import zlib

import pytest
from PIL import Image
from support.prepare_workspace import save_images

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.supervisely import read_supervisely
from retinanet.errors import AnnotationError


def read(root, *objects, folder="ds0", name="a.png.json", tags=(), column=""):
    save_images(root / folder / "img", {"a.png": []})
    (root / folder / "ann").mkdir()
    content = {"size": {"width": 64, "height": 48}, "objects": list(objects), "tags": tags}
    (root / folder / "ann" / name).write_text(json.dumps(content))
    (root / "meta.json").write_text(json.dumps({"classes": [{"title": "cat"}], "tags": []}))
    return read_supervisely(SourceFiles(root), column)


def rectangle(points, title="cat"):
    return {"classTitle": title, "geometryType": "rectangle", "points": {"exterior": points, "interior": []}}


@pytest.mark.parametrize("name", ["a.png.json", "a.json"])
def test_exteriors_become_boxes(tmp_path, name):
    (image,) = read(tmp_path, rectangle([[30, 2], [1, 40]]), name=name).images
    assert (image.file.name, image.size, image.boxes[0].xyxy) == ("a.png", (64, 48), (1, 2, 30, 40))


def test_bitmaps_become_boxes(tmp_path):
    png = io.BytesIO()
    Image.new("1", (5, 6), 1).save(png, "PNG")
    data = base64.b64encode(zlib.compress(png.getvalue())).decode()
    bitmap = {"classTitle": "cat", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [3, 4]}}
    assert read(tmp_path, bitmap).images[0].boxes[0].xyxy == (3, 4, 8, 10)


def test_splits_are_tags_or_folders(tmp_path):
    (image,) = read(tmp_path / "a", tags=[{"name": "val"}, {"name": "patient", "value": 3}], column="patient").images
    assert (image.split, image.group) == ("val", "3")
    assert read(tmp_path / "b", folder="train").images[0].split == "train"


def test_two_annotations_of_one_image_are_refused(tmp_path):
    read(tmp_path, tags=5)
    with pytest.raises(AnnotationError, match=r"a\.json: .*a\.png has two annotations|a\.png has two annotations"):
        (tmp_path / "ds0/ann/a.json").write_text(json.dumps({"size": {}, "objects": []}))
        read_supervisely(SourceFiles(tmp_path))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (rectangle([[1, 2]], title=""), "class name ''"),
        (rectangle([]), "has no points.exterior"),
        ({"classTitle": "cat", "bitmap": {"data": "!", "origin": [0, 0]}}, "damaged bitmap"),
    ],
)
def test_invalid_objects_are_errors(tmp_path, entry, message):
    with pytest.raises(AnnotationError, match=rf"a\.png\.json: object 1 .*{message}"):
        read(tmp_path, entry)

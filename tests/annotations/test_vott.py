import json

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.vott import read_vott
from retinanet.errors import AnnotationError

BOX = {"left": 1, "top": 2, "width": 29, "height": 38}


def asset(*regions, name="a.png"):
    return {"asset": {"name": name, "path": f"file:C:/x/{name}"}, "regions": list(regions)}


def region(box=BOX, tags=("cat",)):
    return {"type": "RECTANGLE", "tags": list(tags), "boundingBox": box}


def export(root, *assets):
    save_images(root, {"a.png": [], "b.png": []})
    (root / "vott-json-export").mkdir()
    content = {"name": "x", "tags": [{"name": "cat"}], "assets": {str(n): entry for n, entry in enumerate(assets)}}
    (root / "vott-json-export/x-export.json").write_text(json.dumps(content))
    return read_vott(SourceFiles(root))


def test_an_export_lists_all_assets(tmp_path):
    (tmp_path / "123-asset.json").write_text(json.dumps(asset(region(), name="ignored.png")))
    found = export(tmp_path, asset(region(tags=("cat", "dog"))), asset(name="b.png"))
    boxes = [[(box.class_name, box.xyxy) for box in image.boxes] for image in found.images]
    assert boxes == [[("cat", (1, 2, 30, 40)), ("dog", (1, 2, 30, 40))], []]


def test_without_an_export_the_files_of_the_assets_are_read(tmp_path):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "123-asset.json").write_text(json.dumps(asset(region())))
    assert read_vott(SourceFiles(tmp_path)).images[0].boxes[0].xyxy == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (asset(region(tags=())), "a.png has a region without tags"),
        (asset(region(box={"left": 1})), "a.png has boundingBox"),
        ({"regions": []}, "an asset has no name"),
        (None, "an asset has no name"),
    ],
)
def test_invalid_assets_are_errors(tmp_path, entry, message):
    with pytest.raises(AnnotationError, match=message):
        export(tmp_path, entry)

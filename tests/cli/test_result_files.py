import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from retinanet.cli.result_files import ResultFiles, new_out_folder
from retinanet.errors import ImageError, RetinanetError
from retinanet.images.reading import Decoded
from retinanet.inference.detections import Detections


class Names:
    class_names = ("cat", "dog")
    category_ids = (3, 7)


ONE_DOG = Detections(np.array([[1, 2, 5, 8]], np.float32), np.array([0.75], np.float32), np.array([1]))
IMAGE = Decoded(np.zeros((10, 20, 3), np.uint8), (), None)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_are_coco_and_pycocotools_reads_them(here):
    with ResultFiles(Path("out"), Names()) as results:
        assert results.add(4, Path("sub/a.png"), "a.png", IMAGE, ONE_DOG) == "sub/a.png: 1 dog: out/a.jpg"
        results.add(6, Path("b.png"), "b.png", IMAGE, Detections.empty())
        results.add_failed(Path("c.png"), ImageError("c.png: damaged"))
    assert results.done == 2 and results.failed == ["c.png"]
    content = json.loads(Path("out/images.json").read_text())
    assert content["failed"] == [{"file_name": "c.png", "error": "c.png: damaged"}]
    assert content["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert content["images"][0] == {"id": 4, "file_name": "sub/a.png", "width": 20, "height": 10}
    read = COCO("out/images.json").loadRes("out/detections.json")
    (row,) = read.loadAnns(read.getAnnIds())
    assert (row["image_id"], row["category_id"], row["bbox"], row["score"]) == (4, 7, [1, 2, 4, 6], 0.75)


def test_files_without_images_are_valid(here):
    with ResultFiles(Path("out"), Names(), ["coco", "cvat", "label-studio"]):
        pass
    for name in ("images", "detections", "annotations", "tasks"):
        json.loads(Path(f"out/{name}.json").read_text())


def test_drawings_of_images_of_one_name_are_numbered_and_replace_nothing(here):
    with ResultFiles(Path("out"), Names()) as results:
        Path("out/a.jpg").write_text("of somebody else")
        lines = [results.add(i, Path(f"{i}/a.png"), f"{i}/a.png", IMAGE, ONE_DOG) for i in (1, 2)]
    assert lines == ["1/a.png: 1 dog: out/a-2.jpg", "2/a.png: 1 dog: out/a-3.jpg"]
    assert Path("out/a.jpg").read_text() == "of somebody else"
    with Image.open("out/a-2.jpg") as drawn:
        assert drawn.format == "JPEG"


def test_an_image_too_wide_for_jpeg_is_drawn_as_png(here):
    wide = Decoded(np.zeros((1, 70_000, 3), np.uint8), (), None)
    with ResultFiles(Path("out"), Names()) as results:
        results.add(1, Path("a.png"), "a.png", wide, Detections.empty())
    with Image.open("out/a.png") as drawn:
        assert drawn.size == (70_000, 1)


def test_without_drawing_only_the_json_files_are_written(here):
    with ResultFiles(Path("out"), Names(), draw=False) as results:
        assert results.add(1, Path("a.png"), "a.png", IMAGE, Detections.empty()) == "a.png: no detections"
    assert sorted(path.name for path in Path("out").iterdir()) == ["detections.json", "images.json"]


def test_line_of_an_animation_says_that_the_first_frame_is_used(here):
    with ResultFiles(Path("out"), Names(), draw=False) as results:
        line = results.add(1, Path("a.gif"), "a.gif", IMAGE._replace(traits=("animated",)), ONE_DOG)
    assert line == "a.gif (first frame of an animation): 1 dog"


def test_default_folder_is_the_first_that_is_free(here):
    assert new_out_folder(None) == Path("predictions")
    Path("predictions").mkdir()
    assert new_out_folder(None) == Path("predictions")  # empty
    Path("predictions/images.json").touch()
    Path("predictions-2").touch()
    assert new_out_folder(None) == Path("predictions-3")


def test_a_folder_with_files_and_a_file_are_refused(here):
    Path("photos").mkdir()
    Path("photos/.hidden").touch()
    assert new_out_folder(Path("photos")) == Path("photos")
    Path("photos/a.jpg").touch()
    with pytest.raises(RetinanetError, match=r"^photos: has files already, and none is replaced; choose another"):
        new_out_folder(Path("photos"))
    with pytest.raises(RetinanetError, match=r"^photos/a\.jpg: is a file; choose another folder with --out$"):
        new_out_folder(Path("photos/a.jpg"))


def test_a_folder_that_cannot_be_created_is_an_error(here):
    Path("file").touch()
    with pytest.raises(RetinanetError, match=r"file/out: the folder cannot be created \(Not a directory\)"):
        ResultFiles(Path("file/out"), Names())

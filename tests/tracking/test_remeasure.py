from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects, write_coco
from retinanet.errors import EvaluationError, TrackingError
from retinanet.tracking.registry import find_version, model_files
from retinanet.tracking.remeasure import measure_version
from retinanet.tracking.store import open_client


def test_measure_version_runs_the_code_of_the_version(make_version):
    client = open_client()
    version = find_version(client, "retinanet", make_version())
    images, objects = [], {}
    for number, cat in ((1, [16, 12, 48, 36]), (2, [0, 0, 8, 8])):
        Image.new("RGB", (64, 48)).save(f"{number}.png")
        images.append(ImageInfo(number, f"{number}.png", 64, 48))
        objects[number] = Objects(np.array([cat], np.float32), np.array([0]), np.array([False]))
    write_coco(CocoDataset(tuple(images), ("cat", "dog"), (3, 7), objects), "test.json")
    # It detects a cat in the middle half of each: right in the first, wrong in the second, with equal scores.
    measured = measure_version(client, version, Path("test.json"), "AR1")
    assert measured.value == pytest.approx(0.5)
    assert measured.matches and measured.matches.is_true[0].tolist() == [True, False]
    assert measured.matches.slices == {}
    by_name = measure_version(client, version, Path("test.json"), "AR1", r"(\d).png")
    assert by_name.matches and {name: mask.tolist() for name, mask in by_name.matches.slices.items()} == {
        ("slice_pattern", "1"): [True, False],
        ("slice_pattern", "2"): [False, True],
    }
    with pytest.raises(EvaluationError, match="no metric nonsense; there are AP"):
        measure_version(client, version, Path("test.json"), "nonsense")


@pytest.mark.parametrize("changed", ["served_model.py", "code/retinanet/__init__.py", "artifacts/exported/model.onnx"])
def test_measure_version_executes_nothing_of_a_version_whose_files_were_changed(make_version, changed):
    client = open_client()
    version = find_version(client, "retinanet", make_version())
    with model_files(client, version) as folder:
        path = folder / changed
        path.write_bytes(b"open('executed', 'w')\n" + path.read_bytes())
    Image.new("RGB", (64, 48)).save("1.png")
    objects = Objects(np.array([[16, 12, 48, 36]], np.float32), np.array([0]), np.array([False]))
    write_coco(CocoDataset((ImageInfo(1, "1.png", 64, 48),), ("cat",), (3,), {1: objects}), "test.json")
    with pytest.raises(TrackingError, match="version 1: digest mismatch of its files"):
        measure_version(client, version, Path("test.json"), "AR1")
    assert not Path("executed").exists()

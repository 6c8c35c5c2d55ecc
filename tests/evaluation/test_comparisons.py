import numpy as np
from PIL import Image

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.drawing import COLORS, GROUND_TRUTH_COLOR, IGNORED_COLOR
from retinanet.evaluation.comparisons import GAP, draw_comparisons
from retinanet.inference.detections import Detections


def dataset(folder, names) -> CocoDataset:
    """Gray images of 48 x 96, each with one object and one ignored region."""
    boxes = np.array([[10, 10, 30, 30], [60, 10, 80, 30]], np.float32)
    images = []
    for image_id, name in enumerate(names, start=1):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (96, 48), (90, 90, 90)).save(path)
        images.append(ImageInfo(image_id, str(path), 96, 48))
    objects = Objects(boxes, np.zeros(2, np.int64), np.array([False, True]))
    return CocoDataset(tuple(images), ("cat",), (1,), {image.id: objects for image in images})


def test_images_with_the_same_base_name_are_drawn_to_two_files(tmp_path):
    same_names = dataset(tmp_path, ["a/1.png", "b/1.png"])
    detections = dict.fromkeys((1, 2), Detections.empty())
    draw_comparisons(same_names, detections, 2, tmp_path / "images")
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["1_1.png", "2_1.png"]


def test_ground_truth_is_left_and_detections_are_right_at_one_scale(tmp_path):
    box = np.array([[10, 10, 30, 30]], np.float32)
    found = {1: Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64))}
    draw_comparisons(dataset(tmp_path, ["1.png"]), found, 2, tmp_path / "images")
    drawn = np.asarray(Image.open(tmp_path / "images/1_1.png"))
    assert drawn.shape == (240, 2 * 480 + GAP, 3)  # enlarged five times
    left, right = drawn[:, :480], drawn[:, 480 + GAP :]
    assert tuple(left[100, 50]) == GROUND_TRUTH_COLOR and tuple(left[100, 300]) == IGNORED_COLOR
    assert tuple(right[100, 50]) == COLORS[0] and tuple(right[100, 300]) == (90, 90, 90)

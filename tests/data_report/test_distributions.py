import numpy as np

from retinanet.data_report.coverage import TrainingBoxes
from retinanet.data_report.distributions import distributions, histogram
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects


def test_a_value_on_an_edge_belongs_above_it():
    assert histogram([1, 8, 15.9, 16, 99], (8, 16)) == {"< 8": 1, "8 to 16": 2, "≥ 16": 2}


def test_whole_numbers_have_their_own_names():
    assert histogram([0, 1, 2, 4, 5, 9], (1, 2, 5), whole=True) == {"0": 1, "1": 1, "2 to 4": 2, "≥ 5": 2}


def test_nothing_is_counted_as_nothing():
    assert set(histogram([], (8, 16)).values()) == {0}


def test_of_a_data_set():
    objects = Objects(np.array([[0, 0, 10, 40]], np.float32), np.array([0]), np.array([False]))
    none = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    images = tuple(ImageInfo(n, f"{n}.png", 100 + n, 50) for n in range(10))
    dataset = CocoDataset(images, ("cat",), (1,), {n: none if n else objects for n in range(10)})
    boxes = TrainingBoxes(np.array([[0, 0, 10, 40.0]]), np.array([[64, 128]]), np.array([0]))
    found = distributions({"train": dataset}, boxes)
    assert {name: count for name, count in found["box_sides"].items() if count} == {"16 to 32": 1}
    assert {name: count for name, count in found["box_ratios"].items() if count} == {"≥ 4": 1}
    assert {name: count for name, count in found["objects_a_image"].items() if count} == {"0": 9, "1": 1}
    assert found["image_sizes"]["other"] == 2 and len(found["image_sizes"]) == 9

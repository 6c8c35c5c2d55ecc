import numpy as np

from retinanet.data_report.coverage import TrainingBoxes
from retinanet.data_report.distributions import distributions, histogram
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects


def test_histogram_counts_a_value_on_an_edge_above_it():
    assert histogram([1, 8, 15.9, 16, 99], (8, 16)) == {"< 8": 1, "8 to 16": 2, "≥ 16": 2}


def test_histogram_of_integers_names_single_values():
    assert histogram([0, 1, 2, 4, 5, 9], (1, 2, 5), integers=True) == {"0": 1, "1": 1, "2 to 4": 2, "≥ 5": 2}


def test_histogram_of_no_values_is_zero():
    assert set(histogram([], (8, 16)).values()) == {0}


def test_distributions_of_a_dataset():
    objects = Objects(np.array([[0, 0, 10, 40]], np.float32), np.array([0]), np.array([False]))
    empty = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    images = tuple(ImageInfo(n, f"{n}.png", 100 + n, 50) for n in range(10))
    dataset = CocoDataset(images, ("cat",), (1,), {n: empty if n else objects for n in range(10)})
    boxes = TrainingBoxes(np.array([[0, 0, 10, 40.0]]), np.array([[64, 128]]), np.array([0]))
    found = distributions({"train": dataset}, boxes)
    assert {name: count for name, count in found["box_sides"].items() if count} == {"16 to 32": 1}
    assert {name: count for name, count in found["box_ratios"].items() if count} == {"≥ 4": 1}
    assert {name: count for name, count in found["objects_per_image"].items() if count} == {"0": 9, "1": 1}
    assert found["image_sizes"]["other"] == 2 and len(found["image_sizes"]) == 9

import numpy as np
import pytest
from PIL import Image
from support.red_spots import DetectsRed

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.errors import BACKGROUND_ERROR, NO_OBJECT
from retinanet.explain.case_heats import (
    Localization,
    explain_cases,
    explain_detections,
    heat_metrics,
    localization,
)
from retinanet.explain.cases import FALSE_POSITIVE, MISSED, Case
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import Detections
from retinanet.model.weights import TrainedModel

SIZE = InputSize(96, 96)


def red_at(*spots, size=(96, 96)) -> np.ndarray:
    image = np.zeros((*size, 3), np.uint8)
    for row, column in spots:
        image[row : row + 8, column : column + 8, 0] = 255
    return image


def case(kind, image_id, box):
    return Case(kind, BACKGROUND_ERROR, image_id, 0, 0.9, np.array(box, np.float32), NO_OBJECT, 0.0)


def test_explain_cases_runs_the_network_once_for_each_image_with_cases(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    none = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    infos = tuple(ImageInfo(i, f"{i}.png", 96, 96) for i in (1, 2, 3))
    for info in infos:
        Image.fromarray(red_at((24, 40), (64, 8))).save(info.file_name)
    dataset = CocoDataset(infos, ("red",), (1,), {info.id: none for info in infos})
    model, passes = DetectsRed(), []
    features = model.features
    monkeypatch.setattr(model, "features", lambda images: passes.append(1) or features(images))
    first, second, third = (
        case(FALSE_POSITIVE, 3, [32, 16, 48, 32]),
        case(MISSED, 1, [0, 56, 16, 72]),
        case(FALSE_POSITIVE, 1, [32, 16, 48, 32]),
    )
    found = list(explain_cases(model, dataset, [first, second, third], SIZE, "hirescam"))
    assert [one.case for one in found] == [second, third, first]
    assert [np.unravel_index(one.explanation.heat.argmax(), (96, 96)) for one in found] == [(64, 8), (24, 40), (24, 40)]
    assert len(passes) == 2


def test_explain_detections_of_a_large_image_uses_the_tile_in_which_each_is_most_central():
    # Tiles of 96 px begin at x = 0, 48 and 96.
    trained = TrainedModel(DetectsRed(), ("red",), (1,), SIZE, Tiling(96, 0.5), ())
    image = red_at((24, 88), (24, 152), size=(96, 192))
    boxes = np.array([[80, 16, 96, 32], [144, 16, 160, 32]], np.float32)
    found = explain_detections(trained, image, Detections(boxes, np.array([0.9, 0.8]), np.zeros(2, int)), "hirescam")
    assert [one.origin for one in found] == [(48, 0), (96, 0)]
    assert [one.box_xyxy.tolist() for one in found] == [[32, 16, 48, 32], [48, 16, 64, 32]]
    assert [one.case.box_xyxy.tolist() for one in found] == boxes.tolist()
    assert all(one.image.shape == (96, 96, 3) for one in found)
    assert np.unravel_index(found[0].explanation.heat.argmax(), (96, 96)) == (24, 40)


def test_explain_detections_without_any_is_empty():
    trained = TrainedModel(DetectsRed(), ("red",), (1,), SIZE)
    assert explain_detections(trained, red_at(), Detections.empty(), "hirescam") == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 2, 2], (0.25, False)),
        ([2, 2, 4, 4], (0.75, True)),
        ([0, 0, 4, 4], (1, True)),
        ([0.6, 0, 4, 1], (0, False)),
        ([1, 1, 1.4, 1.4], (0, False)),  # between the centers of pixels
    ],
)
def test_localization_counts_the_pixels_with_their_center_in_the_box(box, expected):
    heat = np.zeros((4, 4), np.float32)
    heat[1, 1], heat[3, 3] = 0.25, 0.75
    assert localization(heat, np.array(box)) == expected


def test_localization_without_heat_is_not_inside():
    assert localization(np.zeros((4, 4), np.float32), np.array([0, 0, 4, 4])) == (0, False)


def test_heat_metrics_are_means():
    measured = [Localization(0.5, True), Localization(1.0, False)]
    assert heat_metrics(measured) == {"heat_inside_box": 0.75, "heat_maximum_inside_box": 0.5}
    assert heat_metrics([]) == {}

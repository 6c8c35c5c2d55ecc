import numpy as np
import pytest
from support.red_spots import DetectsRed

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import BACKGROUND_ERROR, IGNORED, LOCALIZATION, TRUE_POSITIVE
from retinanet.explain.examples import explain_image, select_examples
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING


def objects(*boxes):
    return Objects(
        np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.int64), np.zeros(len(boxes), bool)
    )


def explain(image, truth):
    size = InputSize(64, 64)
    return explain_image(
        DetectsRed().eval(), "x.png", image, truth, size, STANDARD_DECODING, thresholds=(0.3, 0.3, 0.3), count=3
    )


def test_explain_image_finds_a_red_spot_with_its_heat_on_it():
    image = np.zeros((32, 32, 3), np.uint8)  # enlarged to 64 x 64 for the network
    image[11:15, 19:23, 0] = 255  # where the input's cell at row 3, column 5 of P3 begins
    example = explain(image, objects([16, 8, 24, 16]))
    # the anchor is 16 px around (40, 24) in the input, half of that on the image
    assert example.detections.boxes_xyxy.tolist() == [[16, 8, 24, 16]]
    assert example.matching.outcomes == (TRUE_POSITIVE,)
    (explained,) = example.explained
    assert (explained.level, explained.stride, explained.heat.shape) == (3, 8, (32, 32))
    row, column = np.unravel_index(explained.heat.argmax(), (32, 32))
    assert 11 <= row <= 12
    assert 19 <= column <= 20


def test_explain_image_without_detections_explains_nothing():
    example = explain(np.zeros((40, 64, 3), np.uint8), objects())
    assert (len(example.detections), example.explained, example.matching.unmatched) == (0, (), ())


@pytest.mark.parametrize(
    ("outcomes", "count", "selected"),
    [
        ([], 3, []),
        ([TRUE_POSITIVE], 3, [(0, "most confident true positive")]),
        (
            [BACKGROUND_ERROR, TRUE_POSITIVE, TRUE_POSITIVE, TRUE_POSITIVE],
            3,
            [
                (1, "most confident true positive"),
                (0, "most confident false positive"),
                (3, "least confident true positive"),
            ],
        ),
        (
            [TRUE_POSITIVE, TRUE_POSITIVE, TRUE_POSITIVE],
            3,
            [(0, "most confident true positive"), (2, "least confident true positive"), (1, "true positive")],
        ),
        ([IGNORED, LOCALIZATION], 3, [(1, "most confident false positive")]),
        ([TRUE_POSITIVE, BACKGROUND_ERROR], 1, [(0, "most confident true positive")]),
    ],
)
def test_select_examples_takes_the_extremes_first(outcomes, count, selected):
    assert select_examples(outcomes, count) == selected

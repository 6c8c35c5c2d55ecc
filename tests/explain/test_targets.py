import numpy as np
import pytest
import torch
from support.red_spots import DetectsRed

from retinanet.explain.targets import Target, explain_targets, find_anchor, run_image
from retinanet.images.preprocess import InputSize
from retinanet.losses.matching import match_anchors

SIZE = InputSize(96, 96)
# P3 of a network input of 96 x 96 has 12 x 12 cells; the anchor of row 3, column 5 is 16 px around (40, 24).
ANCHOR = 3 * 12 + 5
BOX = np.array([32.0, 16, 48, 32])


def image_with_red(value: int, side: int = 96) -> np.ndarray:
    image = np.zeros((side, side, 3), np.uint8)
    image[side // 4 : side // 3, side * 5 // 12 : side // 2, 0] = value  # the pixels of that cell
    return image


@pytest.mark.parametrize("side", [96, 48])
def test_anchor_of_a_detection_is_the_one_with_its_box(side):
    image_pass = run_image(DetectsRed(), image_with_red(255, side), SIZE)
    assert find_anchor(image_pass, Target(0, BOX * side / 96)) == ANCHOR


def test_anchor_of_a_detection_is_the_one_with_the_best_score_of_its_box():
    image_pass = run_image(DetectsRed(), image_with_red(255), SIZE)
    # A neighbor that decodes to the same box, with a lower score.
    image_pass.forward.deltas[ANCHOR + 1, 0] = -0.5
    assert find_anchor(image_pass, Target(0, BOX)) == ANCHOR


@pytest.mark.parametrize("box", [BOX, BOX + np.arange(4), np.array([10.0, 10, 15, 15]), np.array([0.0, 0, 96, 96])])
def test_anchor_of_a_missed_object_is_one_that_training_assigns_to_it(box):
    image_pass = run_image(DetectsRed(), image_with_red(0), SIZE)
    anchor = find_anchor(image_pass, Target(0, box, is_missed=True))
    matched = match_anchors(image_pass.anchors, torch.from_numpy(box[None]).float())
    assert matched[anchor] == 0


def test_a_missed_object_is_explained_by_its_weak_evidence():
    (found,) = explain_targets(DetectsRed(), image_with_red(128), SIZE, [Target(0, BOX, True)], "hirescam")
    assert found.score == pytest.approx(1 / (1 + np.exp(8 - 12 * 128 / 255)), abs=1e-3)
    assert (found.level, found.stride, found.heat.shape) == (3, 8, (96, 96))
    # The cell is centered on its first pixel.
    assert np.unravel_index(found.heat.argmax(), found.heat.shape) == (24, 40)


def test_an_image_without_evidence_has_no_heat():
    (found,) = explain_targets(DetectsRed(), image_with_red(0), SIZE, [Target(0, BOX, True)], "hirescam")
    assert not found.heat.any()


def test_explanations_come_in_the_order_of_the_targets():
    image = image_with_red(255)
    image[64:72, 8:16, 0] = 255
    other = np.array([0.0, 56, 16, 72])
    found = explain_targets(DetectsRed(), image, SIZE, [Target(0, other), Target(0, BOX)], "hirescam")
    assert [one.heat[64, 8] for one in found] == [1, 0]
    assert [one.heat[24, 40] for one in found] == [0, 1]

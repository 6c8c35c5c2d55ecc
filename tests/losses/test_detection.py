import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from retinanet.losses.detection import (
    DetectionLoss,
    Losses,
    focal_loss,
    giou_loss,
    image_divisors,
    l1_loss,
    smooth_l1_loss,
)
from retinanet.losses.matching import match_images

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
NO_BOXES, NO_LABELS = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)


def losses_of(logits, deltas, boxes, labels, crowds=None, **options) -> Losses:
    """With the divisors of each image."""
    matched = match_images(ANCHORS, boxes, crowds)
    return DetectionLoss(**options)(logits, deltas, ANCHORS, matched, image_divisors(matched), boxes, labels)


def test_focal_loss_by_hand():
    # logit 0: p = .5. Foreground .25 * .5^2 * ln 2, background .75 * .5^2 * ln 2
    loss = focal_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=bool), *torch.tensor([[0], [0], [1]]))
    assert loss.item() == pytest.approx((0.25 + 0.75) * 0.25 * math.log(2))


def test_focal_loss_equals_torchvisions():
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 50, 3) * 4, torch.zeros(2, 50, 3)
    image, anchor, label = torch.tensor([0, 0, 1]), torch.tensor([3, 4, 7]), torch.tensor([2, 0, 1])
    targets[image, anchor, label] = 1
    ignored = torch.zeros(2, 50, dtype=bool)
    expected = sigmoid_focal_loss(logits, targets, 0.25, 2).sum((1, 2))
    torch.testing.assert_close(focal_loss(logits, ignored, image, anchor, label), expected)


def test_ignored_anchors_cost_nothing():
    ignored = torch.tensor([[True, False]])
    none = torch.zeros(0, dtype=torch.int64)
    one = focal_loss(torch.zeros(1, 2, 1), ignored, none, none, none)
    assert one.item() == pytest.approx(0.75 * 0.25 * math.log(2))


def test_image_without_objects_has_only_background_loss():
    losses = losses_of(torch.zeros(1, 2, 1), torch.ones(1, 2, 4), [NO_BOXES], [NO_LABELS])
    assert losses.classification.item() == pytest.approx(2 * 0.75 * 0.25 * math.log(2))
    assert losses.box.item() == 0


def test_box_loss_is_the_l1_distance_of_the_matched_anchor():
    # The right deltas are zero; the wrong ones of the other anchor do not count.
    deltas = torch.tensor([[[0.1, -0.2, 0.3, 0.0], [9, 9, 9, 9]]])
    losses = losses_of(torch.zeros(1, 2, 1), deltas, [ANCHORS[:1]], [torch.tensor([0])])
    assert losses.box.item() == pytest.approx(0.6)


def test_each_image_is_divided_by_its_own():
    logits, deltas = torch.zeros(2, 2, 1), torch.ones(2, 2, 4)  # each matched anchor costs 4
    boxes, labels = [ANCHORS, ANCHORS[:1]], [torch.tensor([0, 0]), torch.tensor([0])]
    assert losses_of(logits, deltas, boxes, labels).box.item() == pytest.approx((8 / 2 + 4 / 1) / 2)
    matched = match_images(ANCHORS, boxes)
    found = DetectionLoss()(logits, deltas, ANCHORS, matched, torch.tensor([10.0, 20]), boxes, labels)
    assert found.box.item() == pytest.approx(8 / 10 + 4 / 20)


def test_perfect_boxes_cost_nothing():
    assert l1_loss(torch.zeros(2, 4), ANCHORS, ANCHORS).tolist() == [0, 0]
    torch.testing.assert_close(giou_loss(torch.zeros(2, 4), ANCHORS, ANCHORS), torch.zeros(2), atol=1e-6, rtol=0)


def test_losses_are_float32_whatever_comes_in():
    logits, deltas = torch.zeros(1, 2, 1, dtype=torch.bfloat16), torch.ones(1, 2, 4, dtype=torch.bfloat16)
    losses = losses_of(logits, deltas, [ANCHORS], [torch.tensor([0, 0])])
    assert losses.classification.dtype == losses.box.dtype == torch.float32


def test_smooth_l1_is_quadratic_under_beta():
    # Off by .1, .2, .5 and 1 with beta .5: .1^2 / 1, .2^2 / 1, then .5 - .25 and 1 - .25
    deltas = torch.tensor([[0.1, -0.2, 0.5, 1.0]])
    assert smooth_l1_loss(deltas, ANCHORS[:1], ANCHORS[:1], 0.5).item() == pytest.approx(0.01 + 0.04 + 0.25 + 0.75)
    torch.testing.assert_close(smooth_l1_loss(deltas, ANCHORS[:1], ANCHORS[:1], 0.0), torch.tensor([1.8]))


def test_a_loss_takes_the_beta_it_is_given():
    deltas = torch.tensor([[[0.1, 0, 0, 0], [0, 0, 0, 0]]])
    options = {"box_loss": "smooth_l1", "box_parameters": {"beta": 1.0}}
    losses = losses_of(torch.zeros(1, 2, 1), deltas, [ANCHORS[:1]], [torch.tensor([0])], **options)
    assert losses.box.item() == pytest.approx(0.1**2 / 2)


def test_class_weights_multiply_the_columns_of_their_class():
    # One anchor on an object of class 1, one on background; logit 0 costs .25^2 ln 2 times .25 or .75.
    one = 0.25 * math.log(2)
    arguments = torch.zeros(1, 2, 2), torch.zeros(1, 2, 4), [ANCHORS[:1]], [torch.tensor([1])]
    unweighted = losses_of(*arguments).classification.item()
    assert unweighted == pytest.approx(one * (0.25 + 3 * 0.75))
    weighted = losses_of(*arguments, class_weights=torch.tensor([1.0, 10])).classification.item()
    assert weighted == pytest.approx(one * (2 * 0.75 + 10 * (0.25 + 0.75)))
    same = losses_of(*arguments, class_weights=torch.ones(2)).classification.item()
    assert same == pytest.approx(unweighted)


def test_background_in_a_crowd_costs_nothing():
    crowds = [ANCHORS[:1]]
    losses = losses_of(torch.zeros(1, 2, 1), torch.ones(1, 2, 4), [NO_BOXES], [NO_LABELS], crowds)
    assert losses.classification.item() == pytest.approx(0.75 * 0.25 * math.log(2))  # of the other anchor

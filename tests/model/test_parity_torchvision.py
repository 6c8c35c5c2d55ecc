"""The detector computes what torchvision's RetinaNets compute, given their weights."""

import pytest
import torch
import torchvision
from support.squares import build_network
from torch import Tensor

from retinanet.config.model import Model
from retinanet.losses.detection import DetectionLoss, image_divisors
from retinanet.losses.matching import match_images
from retinanet.model.boxes import have_area
from retinanet.model.decode import decode
from retinanet.model.weights import from_torchvision

CLASSES = 5
VERSIONS = ("v1", "v2")


def settings(version: str) -> Model:
    return Model.model_validate(
        {
            "backbone": "resnet50",
            "weights": "none",
            "frozen_stages": 0,
            "frozen_norm": False,
            "pyramid_width": 256,
            "p6_from": "p5" if version == "v1" else "c5",
            "head_width": 256,
            "head_depth": 4,
            "head_norm": "none" if version == "v1" else "group",
            "anchors": {
                "sizes": [32, 64, 128, 256, 512],
                "scales_per_octave": 3,
                "ratios": [0.5, 1.0, 2.0],
                "convention": "torchvision",
            },
            "short_side": 256,
            "long_side": 320,
        }
    )


@pytest.fixture(scope="module", params=VERSIONS)
def pair(request):
    """torchvision's network with random weights, and ours with the same."""
    torch.manual_seed(0)
    build = {
        "v1": torchvision.models.detection.retinanet_resnet50_fpn,
        "v2": torchvision.models.detection.retinanet_resnet50_fpn_v2,
    }[request.param]
    theirs = build(weights=None, weights_backbone=None, num_classes=CLASSES, min_size=256, max_size=320).eval()
    # Untrained heads say p = 0.01 everywhere; spread them so that some anchors pass the threshold and some do not.
    with torch.no_grad():
        theirs.head.classification_head.cls_logits.weight.normal_(std=0.05)
        theirs.head.classification_head.cls_logits.bias.fill_(-4.0)
    ours = build_network(settings(request.param), CLASSES).eval()
    ours.load_state_dict(from_torchvision(theirs.state_dict()), strict=True)
    return request.param, theirs, ours


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.rand(3, 200, 250), torch.rand(3, 256, 180)]


@pytest.fixture(scope="module")
def batch(pair, images) -> tuple[Tensor, list[tuple[int, int]]]:
    inputs, _ = pair[1].transform(images)
    return inputs.tensors, inputs.image_sizes


@torch.no_grad()
def test_logits_and_deltas(pair, batch):
    _, theirs, ours = pair
    head = theirs.head(list(theirs.backbone(batch[0]).values()))
    logits, deltas = ours(batch[0])
    torch.testing.assert_close(logits, head["cls_logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(deltas, head["bbox_regression"], atol=1e-4, rtol=0)


def test_anchors(pair, batch):
    _, theirs, ours = pair
    inputs = torchvision.models.detection.image_list.ImageList(*batch)
    expected = theirs.anchor_generator(inputs, list(theirs.backbone(batch[0]).values()))
    assert torch.equal(ours.anchors(*batch[0].shape[-2:]), expected[0])


@pytest.mark.parametrize("counts", [(3, 2), (3, 0), (0, 0)], ids=str)
@torch.no_grad()
def test_losses_also_of_images_without_objects(pair, batch, counts):
    version, theirs, ours = pair
    torch.manual_seed(2)
    boxes = [_random_boxes(count) for count in counts]
    labels = [torch.randint(0, CLASSES, (count,)) for count in counts]
    logits, deltas = ours(batch[0])
    anchors = ours.anchors(*batch[0].shape[-2:])
    expected = theirs.compute_loss(
        [{"boxes": b, "labels": x} for b, x in zip(boxes, labels, strict=True)],
        {"cls_logits": logits, "bbox_regression": deltas},
        [anchors] * 2,
    )
    matched = match_images(anchors, boxes)
    loss = DetectionLoss("l1" if version == "v1" else "giou")
    found = loss(logits, deltas, anchors, matched, image_divisors(matched), boxes, labels)
    torch.testing.assert_close(found.classification, expected["classification"], rtol=1e-5, atol=0)
    torch.testing.assert_close(found.box, expected["bbox_regression"], rtol=1e-5, atol=1e-9)


@torch.no_grad()
def test_detections_of_images_of_unequal_sizes(pair, images, batch):
    _, theirs, ours = pair
    theirs.detections_per_img = 10_000
    expected = theirs(images)
    inputs, sizes = batch
    size = inputs.shape[-2:]
    found = decode(*ours(inputs), ours.anchors(*size), ours.anchors_per_level(*size), sizes, 0.05, 0.5, 1000, 10_000)
    for one, reference, image, inner in zip(found, expected, images, sizes, strict=True):
        ratio = torch.tensor([image.shape[2] / inner[1], image.shape[1] / inner[0]] * 2)
        # torchvision also returns the lines that clipping makes of boxes outside the image.
        with_area = have_area(reference["boxes"] / ratio)
        reference = {name: values[with_area] for name, values in reference.items()}
        assert len(one.scores) == len(reference["scores"]) > 20
        torch.testing.assert_close(one.boxes_xyxy * ratio, reference["boxes"], atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(one.scores, reference["scores"], atol=1e-5, rtol=1e-4)
        assert torch.equal(one.labels, reference["labels"])


def _random_boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * 150
    return torch.cat([corner, corner + 20 + torch.rand(count, 2) * 80], dim=1)

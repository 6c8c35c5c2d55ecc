import numpy as np
import pytest
import torch
from torch import nn

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import BACKGROUND_ERROR, IGNORED, LOCALIZATION, TRUE_POSITIVE
from retinanet.explain.examples import cam_to_image, explain_image, select_examples
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.anchors import cell_anchors, level_anchors
from retinanet.model.levels import LEVEL_STRIDES


class DetectsRed(nn.Module):
    """One class, one square anchor of four strides a cell; its logit is high if the cell's center is red."""

    anchors_per_cell = 1

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.backbone = nn.Module()
        self.backbone.mean = (0, 0, 0)
        self.mean = torch.zeros(3)
        self.origin = lambda level: 0

    def forward(self, images):
        return self.heads(self.features(images))

    def normalize(self, images):
        return images.permute(0, 3, 1, 2).float() / 255

    def features(self, images):
        return [self._at(images, stride) for stride in LEVEL_STRIDES]

    @staticmethod
    def _at(images, stride):
        return nn.functional.interpolate(images, size=[-(-side // stride) for side in images.shape[-2:]])

    def heads(self, features):
        # Only P3 reacts.
        red = [f[:, 0] * 12 - 8 if i == 0 else f[:, 0] * 0 - 8 for i, f in enumerate(features)]
        logits = torch.cat([r.reshape(1, -1, 1) for r in red], dim=1) * self.scale
        return logits, logits.new_zeros(1, logits.shape[1], 4)

    def grid_sizes(self, height, width):
        return [(-(-height // stride), -(-width // stride)) for stride in LEVEL_STRIDES]

    def anchors_per_level(self, height, width):
        return [rows * columns for rows, columns in self.grid_sizes(height, width)]

    def anchors(self, height, width):
        grids = self.grid_sizes(height, width)
        levels = [
            level_anchors(cell_anchors([2.0 * stride], [1.0], "exact"), grid, stride, (height, width), "exact")
            for stride, grid in zip(LEVEL_STRIDES, grids, strict=True)
        ]
        return torch.cat(levels)


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


@pytest.mark.parametrize(("origin", "peak"), [(0, 8), (7, 15)])
def test_cam_to_image_places_cells_at_their_origin_and_stride(origin, peak):
    cells = np.array([[0, 1, 0.5]], np.float32)
    heat = cam_to_image(cells, 8, origin, resized=(16, 32, 3), image=(16, 32, 3))
    assert heat.shape == (16, 32)
    np.testing.assert_allclose(heat, heat[:1].repeat(16, axis=0))
    assert heat[0].argmax() == peak
    assert heat[0, [peak - 4, peak + 4, peak + 8]].tolist() == [0.5, 0.75, 0.5]


def test_cam_to_image_scales_to_the_size_of_the_image():
    cells = np.array([[0, 1, 0, 0]], np.float32)
    heat = cam_to_image(cells, 8, 3.5, resized=(32, 32, 3), image=(64, 64, 3))
    # The middle of pixels 8 to 15 of the input, whose second cell is centered on 11.5, is that of 16 to 31.
    np.testing.assert_allclose(heat[0, :48], heat[0, 47::-1], atol=0.02)


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

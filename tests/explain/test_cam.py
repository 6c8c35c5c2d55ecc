import numpy as np
import pytest
import torch
from torch import nn

from retinanet.explain.cam import (
    METHOD_NAMES,
    METHODS,
    anchor_cell,
    cam_to_image,
    eigencam,
    gradcam,
    gradcam_plus_plus,
    heat_maps,
    hirescam,
    run_forward,
)


class TwoLevels(nn.Module):
    """The maps are the image and its every second pixel; one class and two anchors per cell.

    Anchor 0 reads +1 times channel 0 of its own cell, anchor 1 reads -1 times channel 1.
    """

    anchors_per_cell = 2

    def features(self, images):
        return [images, images[..., ::2, ::2]]

    def heads(self, features):
        flat = [torch.stack([f[:, 0], -f[:, 1]], dim=-1).reshape(1, -1, 1) for f in features]  # (N, H * W * A, K)
        logits = torch.cat(flat, dim=1)
        return logits, logits.new_zeros(1, logits.shape[1], 4)


class Neighbors(TwoLevels):
    """One class and one anchor per cell, which reads channel 0 of the 3 x 3 cells around its own."""

    anchors_per_cell = 1

    def heads(self, features):
        kernel = torch.zeros(1, 3, 3, 3)
        kernel[:, 0] = 1
        flat = [nn.functional.conv2d(f, kernel, padding=1).reshape(1, -1, 1) for f in features]
        logits = torch.cat(flat, dim=1)
        return logits, logits.new_zeros(1, logits.shape[1], 4)


def heats(model, image, targets, method=hirescam):
    return heat_maps(run_forward(model, image), targets, model.anchors_per_cell, method)


def test_hirescam_is_in_the_cell_that_the_anchor_reads():
    (heat,) = heats(TwoLevels(), torch.ones(1, 3, 4, 4), [(2 * (4 * 1 + 3), 0)])  # P3, row 1, column 3, anchor 0
    expected = np.zeros((4, 4))
    expected[1, 3] = 1
    assert heat.cells.tolist() == expected.tolist()
    assert (heat.level, heat.row, heat.column) == (3, 1, 3)


def test_hirescam_of_the_second_level_has_its_smaller_map():
    (heat,) = heats(TwoLevels(), torch.ones(1, 3, 4, 4), [(2 * 16 + 2 * 2, 0)])  # after 32 anchors: row 1, column 0
    assert heat.cells.tolist() == [[0, 0], [1, 0]]
    assert heat.level == 4


def test_hirescam_of_evidence_against_the_label_is_zero():
    (heat,) = heats(TwoLevels(), torch.ones(1, 3, 4, 4), [(1, 0)])
    assert heat.cells.max() == 0


def test_hirescam_of_equal_cells_out_of_reach_is_zero():
    image = torch.zeros(1, 3, 6, 6)
    image[0, 0, 1, 1], image[0, 0, 2, 2], image[0, 0, 5, 5] = 4, 2, 4
    image[0, 1] = 9  # a channel that the score does not depend on
    (heat,) = heats(Neighbors(), image, [(6 + 1, 0)])
    assert heat.cells[1, 1] == 1
    assert heat.cells[2, 2] == 0.5
    assert heat.cells.sum() == 1.5


def test_hirescam_without_targets_is_empty():
    assert heats(TwoLevels(), torch.ones(1, 3, 4, 4), []) == []


def test_gradcam_weights_channels_by_their_mean_gradient():
    activations = torch.tensor([[[1.0, 2], [3, 4]], [[1, 0], [0, 0]]])
    gradients = torch.tensor([[[4.0, 0], [0, 0]], [[-4, 0], [0, 0]]])  # means 1 and -1
    assert gradcam(activations, gradients, (0, 0)).tolist() == [[0, 2], [3, 4]]
    assert hirescam(activations, gradients, (0, 0)).tolist() == [[0, 0], [0, 0]]


def test_gradcam_plus_plus_weights_channels_by_positive_gradients():
    activations = torch.ones(2, 2, 2)
    gradients = torch.zeros(2, 2, 2)
    gradients[0, 0, 0], gradients[1, 0, 0] = 2, -1
    # Channel 0 has a share of 2^2 / (2 * 2^2 + 4 * 2^3) = 0.1 and a weight of 0.1 * 2; channel 1 has none.
    heat = gradcam_plus_plus(activations, gradients, (0, 0))
    np.testing.assert_allclose(heat.numpy(), np.full((2, 2), 0.2), rtol=1e-6)


@pytest.mark.parametrize(("cell", "sign"), [((1, 1), 1), ((0, 0), -1)])
def test_eigencam_is_the_first_component_with_the_sign_of_the_cell(cell, sign):
    pattern = torch.tensor([[0.0, 0], [0, 4]])  # mean 1
    activations = torch.stack([3 * pattern, 4 * pattern])  # along (3, 4), of length 5
    heat = eigencam(activations, torch.zeros(2, 2, 2), cell)
    np.testing.assert_allclose(heat.numpy(), sign * np.array([[-5, -5], [-5, 15]]), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_heat_maps_of_every_method_are_in_0_to_1(method):
    image = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    (heat,) = heats(Neighbors(), image, [(7, 0)], METHODS[method])
    assert heat.cells.min() >= 0
    assert heat.cells.max() == 1
    assert method in METHOD_NAMES


@pytest.mark.parametrize(
    ("anchor_index", "cell"), [(0, (0, 0, 0)), (17, (0, 1, 2)), (18, (1, 0, 0)), (23, (1, 0, 1)), (24, (2, 0, 0))]
)
def test_anchor_cell_runs_over_levels_rows_and_columns(anchor_index, cell):
    assert anchor_cell(anchor_index, [(2, 3), (1, 2), (1, 1)], anchors_per_cell=3) == cell


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

import numpy as np
import pytest
import torch
from torch import nn

from retinanet.explain.cam import anchor_cell, hirescam


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


def test_hirescam_is_in_the_cell_that_the_anchor_reads():
    (heat,) = hirescam(TwoLevels(), torch.ones(1, 3, 4, 4), [(2 * (4 * 1 + 3), 0)])  # P3, row 1, column 3, anchor 0
    expected = np.zeros((4, 4))
    expected[1, 3] = 1
    assert heat.cells.tolist() == expected.tolist()
    assert (heat.level, heat.row, heat.column) == (3, 1, 3)


def test_hirescam_of_the_second_level_has_its_smaller_map():
    (heat,) = hirescam(TwoLevels(), torch.ones(1, 3, 4, 4), [(2 * 16 + 2 * 2, 0)])  # after 32 anchors: row 1, column 0
    assert heat.cells.tolist() == [[0, 0], [1, 0]]
    assert heat.level == 4


def test_hirescam_of_evidence_against_the_label_is_zero():
    (heat,) = hirescam(TwoLevels(), torch.ones(1, 3, 4, 4), [(1, 0)])
    assert heat.cells.max() == 0


def test_hirescam_of_equal_cells_out_of_reach_is_zero():
    image = torch.zeros(1, 3, 6, 6)
    image[0, 0, 1, 1], image[0, 0, 2, 2], image[0, 0, 5, 5] = 4, 2, 4
    image[0, 1] = 9  # a channel that the score does not depend on
    (heat,) = hirescam(Neighbors(), image, [(6 + 1, 0)])
    assert heat.cells[1, 1] == 1
    assert heat.cells[2, 2] == 0.5
    assert heat.cells.sum() == 1.5


def test_hirescam_without_targets_is_empty():
    model = TwoLevels()
    assert hirescam(model, torch.ones(1, 3, 4, 4), []) == []


@pytest.mark.parametrize(
    ("anchor_index", "cell"), [(0, (0, 0, 0)), (17, (0, 1, 2)), (18, (1, 0, 0)), (23, (1, 0, 1)), (24, (2, 0, 0))]
)
def test_anchor_cell_runs_over_levels_rows_and_columns(anchor_index, cell):
    assert anchor_cell(anchor_index, [(2, 3), (1, 2), (1, 1)], anchors_per_cell=3) == cell

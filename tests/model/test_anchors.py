import torch

from retinanet.model.anchors import cell_anchors, level_anchors, octave_sizes


def test_sizes_of_a_level_are_a_third_of_an_octave_apart():
    assert octave_sizes(32, 3, "exact") == [32, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)]
    assert octave_sizes(32, 3, "torchvision") == [32, 40, 50]


def test_first_cell_anchor_in_both_conventions():
    # ratio 0.5 is a flat box: 32 * sqrt(2) wide, 32 / sqrt(2) high
    torch.testing.assert_close(
        cell_anchors([32.0], [0.5], "exact"), torch.tensor([[-22.627, -11.314, 22.627, 11.314]]), atol=1e-3, rtol=0
    )
    assert cell_anchors([32.0], [0.5], "torchvision").tolist() == [[-23, -11, 23, 11]]


def test_order_is_ratio_then_size():
    widths = cell_anchors([10.0, 20.0], [0.25, 1.0], "exact")[:, 2] * 2
    assert widths.tolist() == [20, 40, 10, 20]


def test_cells_are_ordered_by_row_then_column():
    cell = torch.tensor([[-1.0, -1, 1, 1]])
    centers = level_anchors(cell, (2, 3), 8, (16, 24), "exact")[:, :2] + 1
    assert centers.tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8]]


def test_torchvision_stride_is_side_over_grid():
    # 100 px on a grid of 13: 7 px apart, where the exact convention says 8
    cell = torch.zeros(1, 4)
    assert level_anchors(cell, (1, 13), 8, (8, 100), "torchvision")[-1, 0] == 12 * 7
    assert level_anchors(cell, (1, 13), 8, (8, 100), "exact")[-1, 0] == 12 * 8


def test_unpadded_network_has_an_origin_and_fixed_stride():
    # AlexNet at 128 px: 3 cells on pixels 31, 63 and 95, where side over grid would say 42 px apart
    for convention in ("exact", "torchvision"):
        centers = level_anchors(torch.zeros(1, 4), (1, 3), 32, (32, 128), convention, origin=31)
        assert centers[:, 0].tolist() == [31, 63, 95]

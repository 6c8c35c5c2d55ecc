import copy

import pytest
import torch
from support.squares import build_network


@pytest.fixture
def model(small_settings):
    return build_network(small_settings, 3).eval()


@torch.no_grad()
def test_one_row_of_numbers_for_each_anchor(model):
    logits, deltas = model(torch.zeros(2, 3, 64, 96))
    cells = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1 * 1
    assert logits.shape == (2, cells * 6, 3)
    assert deltas.shape == (2, cells * 6, 4)
    assert model.anchors(64, 96).shape == (cells * 6, 4)
    assert sum(model.anchors_per_level(64, 96)) == cells * 6


@torch.no_grad()
def test_grid_sizes_are_those_of_the_features(model):
    features = model.features(torch.zeros(1, 3, 96, 160))
    assert model.grid_sizes(96, 160) == [tuple(f.shape[-2:]) for f in features]


@pytest.mark.parametrize(
    ("backbone", "places"), [("alexnet", [7, 15, 31, 31, 31]), ("squeezenet1_1", [7, 15, 15, 15, 15])]
)
@torch.no_grad()
def test_grids_that_do_not_divide_the_image_have_an_anchor_where_each_cell_looks(small_settings, backbone, places):
    model = build_network(small_settings.model_copy(update={"backbone": backbone}), 1).eval()
    anchors = model.anchors(96, 128)
    assert model(torch.zeros(1, 3, 96, 128))[0].shape[1] == len(anchors)
    # The levels that the pyramid adds start where the network's last does.
    firsts = [level[0] for level in anchors.split(model.anchors_per_level(96, 128))]
    assert [float(first[:2].add(first[2:])[0] / 2) for first in firsts] == pytest.approx(places, abs=1e-4)


def test_mean_color_is_zero_to_the_network(model):
    color = torch.tensor(model.backbone.mean) * 255
    images = model.normalize(color.expand(1, 4, 5, 3))
    assert images.shape == (1, 3, 4, 5)
    torch.testing.assert_close(images, torch.zeros(1, 3, 4, 5), atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_copy_computes_the_same(model):
    model.grid_sizes(64, 64)
    twin = copy.deepcopy(model)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(images)[0], twin(images)[0])


@pytest.mark.parametrize("backbone", ["resnet18", "timm/tf_efficientnet_lite0"])
@torch.no_grad()
def test_frozen_norms_keep_what_a_trained_network_says(small_settings, backbone):
    settings = small_settings.model_copy(update={"backbone": backbone})
    live, frozen = (build_network(settings.model_copy(update={"frozen_norm": f}), 1) for f in (False, True))
    frozen.load_state_dict(live.state_dict(), strict=False)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(frozen.train()(images), live.eval()(images))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in frozen.modules())

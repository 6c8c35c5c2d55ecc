import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from support.red_spots import DetectsRed
from support.squares import build_network, small_network

from retinanet.dataset.coco import CocoDataset, ImageInfo
from retinanet.evaluation.errors import TRUE_POSITIVE
from retinanet.explain.case_heats import localization
from retinanet.explain.cases import HIT, Case
from retinanet.explain.faithfulness import (
    ALL,
    GAUSSIAN,
    RANDOM,
    SUBNET,
    deletion_and_insertion,
    faithfulness_metrics,
    gaussian,
    measure,
    randomized,
    rank_correlation,
)
from retinanet.explain.targets import Target, run_image
from retinanet.images.preprocess import InputSize

SIZE = InputSize(96, 96)
BOX = np.array([32.0, 16, 48, 32])
ANCHOR = 3 * 12 + 5, 0


@pytest.fixture
def red_cell() -> np.ndarray:
    """Red where the only cell that the anchor reads begins; its 8 x 8 pixels are a quarter of the anchor's box."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[24:32, 40:48, 0] = 255
    return image


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network(small_network(backbone="timm/test_resnet"), 2).eval()


def curves(image, heat):
    model = DetectsRed()
    generator = np.random.default_rng(0)
    return deletion_and_insertion(model, run_image(model, image, SIZE), image, ANCHOR, heat, BOX, generator)


def test_deleting_the_evidence_first_ends_the_score(red_cell):
    deletion, insertion = curves(red_cell, red_cell[:, :, 0].astype(np.float32))
    # Each of 5 steps deletes 102 pixels: the score is 1 at first, then that of black, 0.0003 / 0.982.
    assert deletion == pytest.approx(0.5 / 5, abs=0.001)
    # Inserting them gives the full score from the first step on; the blurred image has hardly any.
    assert insertion == pytest.approx(4.5 / 5, abs=0.01)


def test_deleting_the_evidence_last_keeps_the_score(red_cell):
    deletion, insertion = curves(red_cell, 1 - red_cell[:, :, 0].astype(np.float32) / 255)
    assert deletion == pytest.approx(1)
    assert insertion < 0.01


def test_gaussian_has_its_maximum_in_the_middle_of_the_box():
    heat = gaussian((96, 96), BOX)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (row, column) in {(y, x) for y in (23, 24) for x in (39, 40)}
    # Two standard deviations to each side.
    share, points = localization(heat, BOX)
    assert share == pytest.approx(0.954**2, abs=0.01) and points


def test_rank_correlation_is_spearmans():
    assert rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 15000])) == pytest.approx(1)
    assert rank_correlation(np.array([1, 2, 3]), np.array([3, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([1, 2, 3]), np.zeros(3)) == 0
    with_ties = np.random.default_rng(0).integers(0, 5, (2, 40))
    assert rank_correlation(*with_ties) == pytest.approx(spearmanr(*with_ties).statistic)


def test_randomized_shuffles_the_subnet_or_all_weights(network):
    copies = randomized(network)
    for name, copied in copies.items():
        for (key, before), after in zip(network.named_parameters(), copied.parameters(), strict=True):
            shuffled = before.numel() > 40 and before.unique().numel() > 1
            if name == SUBNET and not key.startswith("classification."):
                assert torch.equal(before, after), key
            elif shuffled:
                assert not torch.equal(before, after), key
            assert torch.equal(before.flatten().sort().values, after.flatten().sort().values), key
    assert list(copies) == [SUBNET, ALL]


@pytest.mark.parametrize("index", [0, 900, -1])  # on P3, P4 and P7
def test_without_heat_that_deletes_anything_the_score_is_the_networks(network, red_cell, index):
    image_pass = run_image(network, red_cell, SIZE)
    anchor = range(len(image_pass.anchors))[index], 1
    nothing = np.array([0.0, 0, 0, 0])  # no box, so that at most a pixel or two are deleted
    heat = np.zeros((96, 96), np.float32)
    heat[95, 0] = 1
    deletion, _ = deletion_and_insertion(network, image_pass, red_cell, anchor, heat, nothing, np.random.default_rng(0))
    assert deletion == pytest.approx(1, abs=0.02)


def test_measure_has_every_map_and_eigencam_does_not_depend_on_the_subnet(network, red_cell):
    target = Target(1, BOX)
    generator = np.random.default_rng(0)
    found = measure(network, randomized(network), red_cell, target, SIZE, ["hirescam", "eigencam"], generator)
    assert list(found) == ["hirescam", RANDOM, "eigencam", GAUSSIAN]
    assert found["eigencam"].similarity[SUBNET] == pytest.approx(1)
    assert abs(found["hirescam"].similarity[ALL]) < 1
    assert found[GAUSSIAN].points_inside and not found[GAUSSIAN].similarity


def test_faithfulness_metrics_are_means_over_hits(network, red_cell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(red_cell).save("red.png")
    dataset = CocoDataset((ImageInfo(1, "red.png", 96, 96),), ("a", "b"), (1, 2), {})
    hit = Case(HIT, TRUE_POSITIVE, 1, 1, 0.9, BOX, 0, 0.8)
    metrics = faithfulness_metrics(network, dataset, [hit, hit], SIZE, "hirescam")
    assert {name.split("_")[0] for name in metrics} == {"heat", "random", "gaussian"}
    assert all(np.isfinite(value) for value in metrics.values())
    assert faithfulness_metrics(network, dataset, [], SIZE, "hirescam") == {}

"""Each network that the table in docs/backbones.md is made for."""

from pathlib import Path

import pytest

from benchmarks.backbones import TIMM, all_names, export_and_run, narrow, train_one_step

FAMILIES = """
    alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 mnasnet0_5 mobilenet_v2 mobilenet_v3_small
    regnet_y_400mf resnet18 shufflenet_v2_x0_5 squeezenet1_1 vgg11 timm/mambaout_femto timm/tf_efficientnet_lite0
"""


def test_thirty_families_of_timm_and_more():
    assert len(TIMM.split()) >= 30
    assert len(all_names()) - len(TIMM.split()) >= 60


def test_the_table_has_a_row_for_each_and_all_work():
    rows = [line for line in Path("docs/backbones.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[1].strip() for row in rows if not row.startswith("| ---")] == sorted(all_names())
    assert [row for row in rows if not row.endswith(("| yes | yes | yes |", "| --- |"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", all_names())
def test_builds_and_trains_a_step(name):
    train_one_step(narrow(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES.split())
def test_one_of_each_family_exports(name, tmp_path):
    export_and_run(narrow(name), tmp_path)


@pytest.mark.exports
@pytest.mark.parametrize("name", sorted(set(all_names()) - set(FAMILIES.split())))
def test_every_other_exports(name, tmp_path):
    export_and_run(narrow(name), tmp_path)


def test_a_step_reaches_the_first_layer():
    model = narrow("timm/resnet10t")
    train_one_step(model)
    model.backbone.network.conv1[0].weight.requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = None
    with pytest.raises(ArithmeticError, match="no gradient reaches the first layer"):
        train_one_step(model)

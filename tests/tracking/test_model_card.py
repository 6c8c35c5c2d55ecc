import json
from pathlib import Path

import pytest

from retinanet.config.params import changed_params, load_params
from retinanet.tracking.model_card import model_card
from retinanet.tracking.registry import MAX_DESCRIPTION, find_version
from retinanet.tracking.store import open_client

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
SMALL = {"value": 0.5931, "no interval": "it rests on 2 independent images or groups; an interval needs 50"}
LARGE = {"value": 0.5931, "low": 0.5512, "high": 0.6328}


@pytest.fixture
def evaluation(root):
    """Write results of a test split and return the folder; metrics are SMALL or LARGE."""

    def write(row: dict, names: list[str]) -> Path:
        metrics = {name: row for name in ("AP", "AP50", "AP75")}
        report = {"images": 15, "independent units": 2, "level": 0.95, "metrics": metrics}
        Path("intervals.json").write_text(json.dumps(report))
        rows = [f'"{name}",173,0.2146,0.5931,0.4541,0.6135,,0.5952,4.2\n' for name in names]
        head = "class,objects,AP,AP50,threshold,precision,recall,f1,false_positives_per_image\n"
        Path("per_class.csv").write_text(head + "".join(rows))
        return Path()

    return write


@pytest.fixture
def splits(root):
    paths = {split: Path(f"{split}.json") for split in ("train", "test")}
    annotations = [{"id": 1}, {"id": 2, "iscrowd": 1}, {"id": 3, "iscrowd": 0}]
    for path in paths.values():
        path.write_text(json.dumps({"images": [{"id": 1}], "annotations": annotations}))
    return paths


def test_model_card_has_metrics_with_intervals_classes_data_settings_and_use(evaluation, splits):
    card = model_card(PARAMS, ["Tree"], evaluation(LARGE, ["Tree"]), splits)
    assert card.startswith("# retinanet: Tree\n")
    assert "- AP50: **0.593** (95% interval 0.551 to 0.633)\n" in card
    assert "- Tree: AP50 0.593, AP 0.215; scores from 0.454: precision 0.614, recall none; 173 test objects\n" in card
    assert "- source: deepforest 2.1.0\n- license of the data: not known to the pipeline" in card
    assert "- train: 1 images, 2 objects, sha256 `" in card
    assert "model.backbone: timm/tf_efficientnet_lite0, " in card and "train.box_loss" in card
    assert "--model models:/retinanet@production" in card
    assert "too small" not in card


def test_model_card_of_a_small_test_split_says_so(evaluation, splits):
    card = model_card(PARAMS, ["Tree"], evaluation(SMALL, ["Tree"]), splits)
    assert "- AP50: **0.593**\n" in card
    assert "- no 95% interval: it rests on 2 independent images or groups; an interval needs 50\n" in card
    assert "The test split is too small to say how exact AP50, AP, AP75 are." in card


def test_model_card_names_the_license_of_a_public_dataset_and_no_password(evaluation, splits):
    public = changed_params(PARAMS, {"download.source": "coco2017"})
    assert "license of the data: annotations CC BY 4.0" in model_card(
        public, ["Tree"], evaluation(LARGE, ["Tree"]), splits
    )
    secret = {"download.source": "archive", "download.archive.url": "https://ann:secret@example.org/a.zip"}
    card = model_card(changed_params(PARAMS, secret), ["Tree"], evaluation(LARGE, ["Tree"]), splits)
    assert "example.org/a.zip" in card and "secret" not in card


def test_model_card_of_many_classes_with_odd_names_fits_the_description(evaluation, splits):
    names = [f"class | {number} `x` {'long ' * 20}" for number in range(200)]
    card = model_card(PARAMS, names, evaluation(SMALL, names), splits)
    assert len(card) < MAX_DESCRIPTION
    assert "180 more classes" in card and "- class | 0 \\`x\\`" in card


def test_register_stores_the_card_as_the_description(make_version):
    number = make_version(card="# retinanet: Tree\n" + "x" * 6000)
    description = find_version(open_client(), "retinanet", number).description
    assert description.startswith("# retinanet: Tree\n") and len(description) == MAX_DESCRIPTION

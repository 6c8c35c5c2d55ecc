from pathlib import Path

import pytest

from retinanet.tracking.run_names import changes, training_name

COMMITTED = """\
download: {source: package, folder: {path: data/my_images}}
prepare: {tile_size: auto}
model: {short_side: 640, anchors: {sizes: [32, 64]}}
train: {epochs: auto, box_loss: l1, augment: {scale: [0.75, 1.33]}}
evaluate: {nms_iou: 0.5}
"""


@pytest.fixture
def params(root, commit_all):
    """Change settings of the committed params.yaml."""

    def change(*pairs: tuple[str, str]) -> None:
        text = COMMITTED
        for old, new in pairs:
            text = text.replace(old, new)
        Path("params.yaml").write_text(text)

    change()
    commit_all()
    return change


def test_changes_are_short_names_and_values_of_the_settings_that_differ_from_the_commit(params):
    assert changes(("model", "train")) == []
    params(("epochs: auto", "epochs: 10"), ("box_loss: l1", "box_loss: {kind: smooth_l1, beta: 0.1}"))
    assert changes(("model", "train")) == ["epochs=10", "box_loss=smooth_l1,beta=0.1"]
    assert changes(("evaluate",)) == []
    params(("[32, 64]", "[16, 32, 64]"), ("nms_iou: 0.5", "nms_iou: 0.6"))
    assert changes(("model", "train", "evaluate")) == ["sizes=16,32,64", "nms_iou=0.6"]


def test_changes_of_keys_with_the_same_last_part_have_the_whole_key(root, commit_all):
    Path("params.yaml").write_text("model: {scale: 1}\ntrain: {scale: 1}\n")
    commit_all()
    Path("params.yaml").write_text("model: {scale: 2}\ntrain: {scale: 3}\n")
    assert changes(("model", "train")) == ["model.scale=2", "train.scale=3"]


def test_training_name_says_what_changed_and_the_source_first(params):
    params(("source: package", "source: folder"), ("epochs: auto", "epochs: 10"))
    assert training_name("data/my_images") == "my_images epochs=10"
    params(
        ("tile_size: auto", "tile_size: 0"),
        ("short_side: 640", "short_side: 512"),
        ("sizes: [32, 64]", "sizes: [8]"),
        ("epochs: auto", "epochs: 10"),
        ("l1", "giou"),
        ("1.33", "2"),
    )
    assert training_name("trees") == "tile_size=0 short_side=512 sizes=8 epochs=10 and 2 more"


def test_training_name_without_changes_is_the_experiments_or_data_and_time(params, monkeypatch):
    assert training_name("https://example.org/birds.tar.gz")[:-5].startswith("birds 20")
    monkeypatch.setenv("DVC_EXP_NAME", "big-anchors")
    assert training_name("trees") == "big-anchors"


def test_training_name_without_a_commit_or_params_does_not_fail(root):
    assert training_name("deepforest 2.1.0").startswith("deepforest 2.1.0 20")

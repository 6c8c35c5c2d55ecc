import shutil
from difflib import ndiff
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from retinanet.config.params import changed_params, flat, load_params, with_values, write_params
from retinanet.errors import ParamsError

GOOD = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


def load_with(tmp_path, key: str, value: object):
    content = yaml.safe_load(yaml.safe_dump(GOOD))
    *sections, last = key.split(".")
    section = content
    for name in sections:
        section = section[name]
    if value is None:
        del section[last]
    else:
        section[last] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    return load_params(tmp_path / "params.yaml")


def test_load_params_reads_the_repositorys_file():
    assert load_params().train.batch_size >= 1


def test_load_params_reads_an_exponent_without_a_dot_as_a_number(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(GOOD).replace("learning_rate: 0.", "learning_rate: 1e-3 # 0."))
    assert load_params(tmp_path / "params.yaml").train.learning_rate == 0.001


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epoch", 3, r"train\.epoch is not a known key; did you mean epochs\?"),
        ("trian", {}, r"trian is not a known key; did you mean train\?"),
        ("train.workers", 2, r"train\.workers is not a known key; did you mean runtime\.workers\?"),
        ("train.box_loss", {"kind": "smooth_l1", "bet": 1}, r"smooth_l1\.bet is not a known key; did you mean beta\?"),
        ("train.box_loss", "l2", r"train\.box_loss is 'l2'; it must be one of l1, smooth_l1, giou"),
        ("train.epochs", None, r"train\.epochs is missing"),
        ("train.epochs", "ten", r"train\.epochs: is 'ten'; it must be auto, or an integer of at least 1"),
        ("train.epochs", True, r"train\.epochs: is True; it must be auto, or an integer of at least 1"),
        ("train.epochs", 0, r"train\.epochs: is 0; it must be auto, or an integer of at least 1"),
        ("train.learning_rate", float("nan"), r"train\.learning_rate is nan; it must be a finite number"),
        ("train.optimizer", "adam", r"train\.optimizer is 'adam'; it must be adamw or sgd"),
        ("download.source", "archive", r"download: source is archive, so archive\.url must be set"),
        ("download.archive.sha256", "xyz", r"download\.archive\.sha256 is 'xyz'; it must be a sha256 of 64 hex"),
        ("prepare.test_share", 0.9, r"prepare: val_share \+ test_share is 1\.05; it must be below 1"),
        ("export.serve", "openvino", r"export: serve is openvino, which is not made; add it to export\.runtimes"),
        ("train.augment.scale", [1.33, 0.75], r"train\.augment\.scale.* the smallest factor, then the largest"),
        ("model.anchors.sizes", [32, 64], r"model\.anchors\.sizes is \[32, 64\]; it must be a list of at least 5"),
        ("model.anchors", 3, r"model\.anchors is 3; it must be a mapping"),
        ("train.compile", "yes", r"train\.compile is 'yes'; it must be true or false"),
        ("train.augment.orientation", "up", r"orientation is 'up'; it must be auto, upright or any"),
        ("prepare.tile_size", "big", r"prepare\.tile_size: is 'big'; it must be auto, or an integer of at least 0"),
        ("prepare.tile_size", 0.5, r"prepare\.tile_size: is 0\.5"),
        ("tracking.experiment", "", r"tracking\.experiment is ''; it must be text that is not empty"),
        ("model.long_side", 32, r"model: long_side is 32; it must be at least short_side"),
    ],
)
def test_load_params_with_a_mistake_names_it_in_one_line(tmp_path, key, value, message):
    with pytest.raises(ParamsError, match=message) as error:
        load_with(tmp_path, key, value)
    assert "\n" not in str(error.value)


def test_load_params_names_all_mistakes_at_once(tmp_path):
    content = yaml.safe_dump(GOOD).replace("epochs:", "epoch:").replace("experiment: retinanet", "experiment: ''")
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=r"train\.epochs is missing; train\.epoch is not a known key.*; tracking"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("content", "message"), [("a: [1", "line 1.*not YAML"), ("", "the file is None"), ("- 1", "the file is")]
)
def test_load_params_of_a_file_that_is_not_a_mapping_raises(tmp_path, content, message):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=message):
        load_params(tmp_path / "params.yaml")


def test_load_params_without_a_file_names_the_folder_to_run_from(tmp_path):
    with pytest.raises(ParamsError, match="run from the root of the repository"):
        load_params(tmp_path / "params.yaml")


def test_write_params_changes_only_the_named_values(tmp_path):
    path = Path(shutil.copy("params.yaml", tmp_path))
    before = path.read_text(encoding="utf-8").splitlines()
    write_params(path, {"model.anchors.sizes": [16, 32, 64, 128.5, 256], "train.optimizer": "sgd"})
    changes = [line for line in ndiff(before, path.read_text(encoding="utf-8").splitlines()) if line[0] in "+-"]
    assert [line[1:].partition("#")[0].strip() for line in changes if line[0] == "+"] == [
        "- 16",
        "- 128.5",
        "optimizer: sgd",
    ]
    assert [line[1:].partition("#")[0].strip() for line in changes if line[0] == "-"] == [
        "- 128",
        "- 512",
        "optimizer: adamw",
    ]
    assert load_params(path).model.anchors.sizes == [16, 32, 64, 128.5, 256]


def test_dvc_exp_run_changes_only_the_named_line(tmp_path):
    path = Path(shutil.copy("params.yaml", tmp_path))
    apply_overrides(str(path), ["train.epochs=3"])  # what `dvc exp run -S` does
    before = Path("params.yaml").read_text(encoding="utf-8").splitlines()
    changes = [line for line in ndiff(before, path.read_text(encoding="utf-8").splitlines()) if line[0] in "+-"]
    assert [change.split("#")[0].rstrip() for change in changes] == ["-   epochs: auto", "+   epochs: 3"]


def test_with_values_keeps_comments_and_layout():
    text = "# top\na:\n  b: [1, 2]   # why\n  c: 'x'       # that\n  d:\n  - 1\n  - 2 # two\n  e:\n  - 3\n# end\n"
    assert (
        with_values(text, {"a.b": [3], "a.c": "no", "a.d": [7, 8], "a.e": []}, Path("p.yaml"))
        == "# top\na:\n  b: [3]      # why\n  c: 'no'      # that\n  d:\n  - 7\n  - 8 # two\n  e:\n    []\n# end\n"
    )


@pytest.mark.parametrize(("text", "key"), [("a: 1\n", "b"), ("a: 1\n", "a.b"), ("a: [\n", "a"), ("", "a")])
def test_with_values_of_a_key_that_does_not_exist_raises(text, key):
    with pytest.raises(ParamsError, match=r"p\.yaml: cannot be changed"):
        with_values(text, {key: 3}, Path("p.yaml"))


@pytest.mark.parametrize("values", [{"train.epochs": 0}, {"train.epoch": 3}])
def test_write_params_leaves_the_file_unchanged_if_the_result_is_invalid(tmp_path, values):
    path = Path(shutil.copy("params.yaml", tmp_path))
    before = path.read_bytes()
    with pytest.raises(ParamsError):
        write_params(path, values)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_changed_params_have_other_values_of_the_keys_alone():
    params = load_params()
    values = {"train.epochs": 7, "model.anchors.ratios": [1.0]}
    changed = changed_params(params, values)
    assert (changed.train.epochs, changed.model.anchors.ratios) == (7, [1.0])
    before = flat(params.model_dump())
    assert changed_params(changed, {key: before[key] for key in values}) == params


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.epochs": 0}, r"params: train\.epochs: is 0; it must be auto, or an integer of at least 1"),
        ({"train.epoch": 3}, r"params: train\.epoch is not a known key; did you mean epochs\?"),
        ({"training.epochs": 3}, r"params: training is not a known key; did you mean train\?"),
    ],
)
def test_changed_params_that_are_invalid_raise(values, message):
    with pytest.raises(ParamsError, match=message):
        changed_params(load_params(), values)


def test_flat_names_values_by_dotted_keys():
    assert flat({"a": {"b": 1, "c": {"d": [2]}}, "e": "f"}) == {"a.b": 1, "a.c.d": [2], "e": "f"}


def test_the_orientation_of_the_data_replaces_auto_only():
    train = load_params(Path("params.yaml")).train
    assert train.augment.orientation == "auto"
    assert train.for_data("any", 1).augment.orientation == "any"
    assert train.for_data("any", 1).for_data("upright", 1).augment.orientation == "any"


@pytest.mark.parametrize(("images", "epochs"), [(1, 1500), (100, 30), (151, 20), (5000, 20)])
def test_automatic_epochs_are_twenty_or_more_for_1500_steps(images, epochs):
    train = load_params(Path("params.yaml")).train
    assert (train.epochs, train.batch_size) == ("auto", 2)
    assert train.epochs_for(images) == train.for_data("any", images).epochs == epochs
    assert train.for_data("any", images, epochs=8).epochs == 8
    assert train.model_copy(update={"epochs": 7}).for_data("any", images, epochs=8).epochs == 7

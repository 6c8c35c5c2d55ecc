import shutil
from difflib import ndiff
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from retinanet.config.params import load_params, with_values, write_params
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


def test_the_repositorys_own_params_are_sound():
    assert load_params().train.epochs >= 1


def test_a_number_without_a_dot_is_a_number(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(GOOD).replace("learning_rate: 0.", "learning_rate: 1e-3 # 0."))
    assert load_params(tmp_path / "params.yaml").train.learning_rate == 0.001


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("train.epoch", 3, r"train\.epoch is no known key; did you mean epochs\?"),
        ("trian", {}, r"trian is no known key; did you mean train\?"),
        ("train.epochs", None, r"train\.epochs is missing"),
        ("train.epochs", "ten", r"train\.epochs is 'ten'; input should be a valid integer"),
        ("train.epochs", True, r"train\.epochs is True"),
        ("train.epochs", 0, r"train\.epochs is 0; .*greater than or equal to 1"),
        ("train.learning_rate", float("nan"), r"train\.learning_rate is nan"),
        ("train.optimizer", "adam", r"train\.optimizer is 'adam'; .*'adamw' or 'sgd'"),
        ("download.source", "archive", r"download: source is archive, so archive\.url"),
        ("download.archive.sha256", "xyz", r"download\.archive\.sha256 is 'xyz'"),
        ("prepare.test_share", 0.9, r"prepare: val_share \+ test_share is 1\.05; train needs a share too"),
        ("train.augment.scale", [1.33, 0.75], r"train\.augment\.scale.* the smallest factor, then the largest"),
        ("model.long_side", 32, r"model: long_side is 32; it must be at least short_side"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, key, value, says):
    with pytest.raises(ParamsError, match=says) as error:
        load_with(tmp_path, key, value)
    assert "\n" not in str(error.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    content = yaml.safe_dump(GOOD).replace("epochs:", "epoch:").replace("experiment: retinanet", "experiment: ''")
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=r"train\.epochs is missing; train\.epoch is no known key.*; tracking"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("content", "says"), [("a: [1", "line 1.*not YAML"), ("", "the file is None"), ("- 1", "the file is")]
)
def test_a_file_that_is_no_mapping(tmp_path, content, says):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=says):
        load_params(tmp_path / "params.yaml")


def test_no_file_says_where_to_stand(tmp_path):
    with pytest.raises(ParamsError, match="run from the repository's root"):
        load_params(tmp_path / "params.yaml")


def test_only_the_named_values_change(tmp_path):
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


def test_an_experiment_changes_only_the_line_it_names(tmp_path):
    path = Path(shutil.copy("params.yaml", tmp_path))
    apply_overrides(str(path), ["train.epochs=3"])  # what `dvc exp run -S` does
    before = Path("params.yaml").read_text(encoding="utf-8").splitlines()
    changes = [line for line in ndiff(before, path.read_text(encoding="utf-8").splitlines()) if line[0] in "+-"]
    assert changes == ["-   epochs: 20", "+   epochs: 3"]


def test_comments_and_odd_layouts_stay():
    text = "# top\na:\n  b: [1, 2]   # why\n  c: 'x'       # that\n  d:\n  - 1\n  - 2 # two\n  e:\n  - 3\n# end\n"
    assert (
        with_values(text, {"a.b": [3], "a.c": "no", "a.d": [7, 8], "a.e": []}, Path("p.yaml"))
        == "# top\na:\n  b: [3]   # why\n  c: 'no'       # that\n  d:\n  - 7\n  - 8 # two\n  e:\n    []\n# end\n"
    )


@pytest.mark.parametrize(("text", "key"), [("a: 1\n", "b"), ("a: 1\n", "a.b"), ("a: [\n", "a"), ("", "a")])
def test_what_cannot_be_changed_is_said(text, key):
    with pytest.raises(ParamsError, match=r"p\.yaml: cannot be changed"):
        with_values(text, {key: 3}, Path("p.yaml"))


@pytest.mark.parametrize("values", [{"train.epochs": 0}, {"train.epoch": 3}])
def test_a_file_that_would_not_be_valid_stays_as_it_was(tmp_path, values):
    path = Path(shutil.copy("params.yaml", tmp_path))
    before = path.read_bytes()
    with pytest.raises(ParamsError):
        write_params(path, values)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["params.yaml"]

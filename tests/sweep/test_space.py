from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from retinanet.config.params import changed_params, load_params
from retinanet.errors import ParamsError
from retinanet.sweep.space import DEFAULT_SPACE, Choices, read_space

PARAMS = load_params()


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, params=PARAMS):
        (tmp_path / "space.yaml").write_text(text)
        return read_space(tmp_path / "space.yaml", params)

    return read_text


def test_the_type_of_the_setting_decides_how_numbers_are_drawn(read):
    space = read("train.weight_decay: {low: 0, high: 1}\nmodel.head_depth: {low: 1, high: 5, step: 2}\n")
    study = optuna.create_study()
    values = space.suggest(trial := study.ask())
    assert trial.distributions == {
        "train.weight_decay": FloatDistribution(0, 1),
        "model.head_depth": IntDistribution(1, 5, step=2),
    }
    assert type(values["model.head_depth"]) is int
    changed_params(PARAMS, values)


def test_numbers_without_a_dot_and_choices_with_parameters(read):
    space = read(
        "train.learning_rate: {low: 1e-4, high: 3e-3, log: true}\ntrain.box_loss: [l1, {kind: smooth_l1, beta: 0.1}]\n"
    )
    trial = optuna.create_study().ask()
    space.suggest(trial)
    labels = ["l1", '{"kind": "smooth_l1", "beta": 0.1}']
    assert trial.distributions["train.box_loss"] == CategoricalDistribution(labels)
    assert trial.distributions["train.learning_rate"] == FloatDistribution(1e-4, 3e-3, log=True)
    assert space.values({"train.box_loss": labels[1]}) == {"train.box_loss": {"kind": "smooth_l1", "beta": 0.1}}
    assert space.texts()["train.learning_rate"] == "0.0001 to 0.003, log"


def test_the_default_space_is_valid():
    space = read_space(DEFAULT_SPACE, PARAMS)
    assert isinstance(space.domains["train.box_loss"], Choices)
    text = DEFAULT_SPACE.read_text().partition("\n")[2]  # without the comment
    assert text in Path("docs/training.md").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train.learning_rat: [0.1, 0.2]",
            "train.learning_rat is not a setting of model or train; did you mean train.learning_rate?",
        ),
        ("evaluate.nms_iou: [0.1, 0.2]", "evaluate.nms_iou is not a setting of model or train"),
        ("train.learning_rate: {low: -1, high: 1}", "train.learning_rate is -1"),
        ("train.batch_size: {low: 1.5, high: 4}", "train.batch_size is 1.5"),
        ("train.optimizer: [adamw, lion]", "train.optimizer is 'lion'"),
        ("train.learning_rate: {low: 1, high: 0.5}", "low is 1 and high is 0.5"),
        ("train.weight_decay: {low: 0, high: 0.5, log: true}", "log needs low above 0"),
        ("train.weight_decay: {low: 0, hihg: 0.5}", "train.weight_decay: .*hihg is not a known key"),
        ("train.weight_decay: 0.5", "a list of at least two values"),
        ("train.weight_decay: [0.5, 0.5]", "names a value twice"),
        ("model.short_side: [512, 640]", "also decides how prepare cuts images"),
        ("train.weight_decay: [", "not YAML"),
        ("[1, 2]", "write a dotted setting in each line"),
    ],
)
def test_a_mistake_in_the_file_is_named(read, text, message):
    with pytest.raises(ParamsError, match=f"space.yaml: .*{message}"):
        read(text)


def test_image_sizes_are_searched_if_tiles_do_not_depend_on_them(read):
    params = changed_params(PARAMS, {"prepare.tile_size": 400})
    assert str(read("model.short_side: [512, 640]", params).domains["model.short_side"]) == "512, 640"

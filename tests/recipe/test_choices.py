import pytest
from pydantic import ValidationError

from retinanet.config.params import load_params
from retinanet.recipe.choices import Choice, value_of, with_choices


def test_with_choices_changes_only_the_chosen_values():
    params = load_params()
    chosen = [Choice("train.epochs", 7, "few images"), Choice("model.anchors.ratios", [1.0], "squares")]
    changed = with_choices(params, chosen)
    assert (value_of(changed, "train.epochs"), value_of(changed, "model.anchors.ratios")) == (7, [1.0])
    restored = [Choice(choice.key, value_of(params, choice.key), "") for choice in chosen]
    assert with_choices(changed, restored) == params


def test_with_choices_raises_for_an_invalid_value():
    with pytest.raises(ValidationError, match=r"train\.epochs"):
        with_choices(load_params(), [Choice("train.epochs", 0, "")])

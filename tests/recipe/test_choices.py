from retinanet.config.params import load_params
from retinanet.recipe.choices import Choice, with_choices


def test_with_choices_sets_the_chosen_values():
    params = load_params()
    changed = with_choices(params, [Choice("train.epochs", 7, "few images")])
    assert (params.train.epochs, changed.train.epochs) == ("auto", 7)

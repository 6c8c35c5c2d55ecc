import pytest

from retinanet.tracking.entries import metric_name


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("AP50/RBC", "AP50/RBC"),
        ("AP50/Röte", "AP50/Röte"),
        ("AP@[.5:.95]", "AP__.5_.95_"),
        ("AP/", "AP/_"),
        ("AP/../x", "AP/__/x"),
        ("a" * 300, "a" * 250),
    ],
)
def test_metric_names_are_what_mlflow_takes(name, taken):
    from mlflow.utils.validation import _validate_metric_name

    assert metric_name(name) == taken
    _validate_metric_name(taken)

import pytest

from retinanet.tracking.entries import metric_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AP50/RBC", "AP50/RBC"),
        ("AP50/Röte", "AP50/Röte"),
        ("AP@[.5:.95]", "AP__.5_.95_"),
        ("AP/", "AP/_"),
        ("AP/../x", "AP/__/x"),
        ("a" * 300, "a" * 250),
    ],
)
def test_metric_name_is_valid_in_mlflow(name, expected):
    from mlflow.utils.validation import _validate_metric_name

    assert metric_name(name) == expected
    _validate_metric_name(expected)

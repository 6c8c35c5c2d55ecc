import numpy as np
import pytest

from retinanet.errors import TrackingError
from retinanet.evaluation.intervals import metric_values
from retinanet.evaluation.matches import Matches
from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.registry import register
from retinanet.tracking.runs import start_run
from retinanet.tracking.version_differences import differences_text


def of_images(found: list[bool]) -> Matches:
    """An image with one cat for each entry: whether it is found."""
    images = np.flatnonzero(found)
    is_true, labels = np.ones((10, len(images)), bool), np.zeros(len(images), np.int64)
    objects, ones = np.array([[1, 0]] * len(found)), np.ones(len(found), np.int64)
    return Matches(("cat", "dog"), ones, objects, np.full(len(images), 0.5), labels, images, is_true, ~is_true)


@pytest.fixture
def make_evaluated(make_version):
    def make(found: list[bool], digest: str = "today") -> int:
        matches = of_images(found)
        value = metric_values(matches)["AP50"]
        return make_version(value, digest, matches, metrics={"AP50": value}, model_sha256=str(found))

    return make


def test_metrics_of_one_test_set_have_the_interval_of_their_difference(make_evaluated):
    make_evaluated([i % 5 < 3 for i in range(100)])
    make_evaluated([i % 5 < 4 for i in range(100)])
    first, *lines = differences_text("retinanet", "2", "1", "AP50").splitlines()
    assert first == "retinanet: version 1 -> version 2"
    (line,) = [line for line in lines if line.startswith("AP50/cat")]
    assert line.startswith("AP50/cat: 0.6040 -> 0.8020, +0.1980 (95% interval +0.1") and "undecided" not in line


def test_a_difference_whose_interval_includes_0_is_undecided(make_evaluated):
    make_evaluated([i % 5 < 3 for i in range(100)])
    make_evaluated([i % 5 != 1 if i < 60 else i % 5 == 1 for i in range(100)])
    text = differences_text("retinanet", "2", "1", "AP50")
    assert "settings, data and code are equal" in text and text.endswith(", undecided")


def test_a_reason_without_intervals_is_said_once(make_evaluated):
    make_evaluated([True, False] * 5)
    make_evaluated([True] * 10)
    lines = differences_text("retinanet", "2", "1", "AP50").splitlines()
    (reason,) = [line for line in lines if "rests on" in line]
    assert reason == lines[-1] == "no 95% intervals: it rests on 10 independent images or groups; an interval needs 20"
    assert any(line.startswith("AP50/cat: ") and line.endswith("+0.4950") for line in lines)


def test_versions_of_different_test_sets_have_no_interval(make_evaluated):
    make_evaluated([True, False] * 50)
    make_evaluated([True, True, False] * 30, digest="tomorrow")
    lines = differences_text("retinanet", "2", "1", "AP50").splitlines()
    assert lines[-1].startswith("AP50: 0.5050 -> 0.6634, as registered: there is no interval of the difference")


def test_settings_and_data_that_differ_are_listed(root, toy_onnx):
    for epochs, data in ((3, "a"), (5, "b")):
        with start_run("birds") as run:
            run.log_params({"train.epochs": epochs, "train.seed": 0})
            run.log_dataset("birds train", data * 64, "birds", "training")
        register("retinanet", run.id, toy_onnx(), str(epochs), {"AP50": 0.5}, "today", ["cat"])
    lines = differences_text("retinanet", "2", "1", "AP50").splitlines()
    assert lines[2:4] == ["train.epochs: 3 -> 5", f"data birds train: {'a' * 36} -> {'b' * 36}"]


def test_aliases_name_versions(make_version):
    make_version(0.5)
    make_version(0.6)
    promote("retinanet", 1, Gate("AP50", 0.3))
    assert differences_text("retinanet", "2", "production", "AP50").startswith("retinanet: version 1 -> version 2")


@pytest.mark.parametrize(("name", "message"), [("7", "no version 7"), ("best", "no version with the alias best")])
def test_a_missing_version_is_an_error(make_version, name, message):
    make_version(0.5)
    with pytest.raises(TrackingError, match=message):
        differences_text("retinanet", name, "1", "AP50")

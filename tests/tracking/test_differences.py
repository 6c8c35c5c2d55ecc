import numpy as np
import pytest

from retinanet.evaluation.intervals import metric_values
from retinanet.evaluation.matches import Matches
from retinanet.tracking.differences import differences_text
from retinanet.tracking.registry import find_version, register
from retinanet.tracking.runs import start_run
from retinanet.tracking.sides import Side, version_side
from retinanet.tracking.store import open_client


def text_of(new: int, old: int) -> str:
    client = open_client()
    sides = [version_side(client, find_version(client, "retinanet", number), "AP50") for number in (new, old)]
    return differences_text("retinanet", *sides, "AP50")


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
    first, *lines = text_of(2, 1).splitlines()
    assert first == "retinanet: version 1 -> version 2"
    (line,) = [line for line in lines if line.startswith("AP50/cat")]
    assert line.startswith("AP50/cat: 0.6040 -> 0.8020, +0.1980 (95% interval +0.1") and "undecided" not in line


def test_a_difference_whose_interval_includes_0_is_undecided(make_evaluated):
    make_evaluated([i % 5 < 3 for i in range(100)])
    make_evaluated([i % 5 != 1 if i < 60 else i % 5 == 1 for i in range(100)])
    text = text_of(2, 1)
    assert "settings, data and code are equal" in text and text.endswith(", undecided")


def test_a_reason_without_intervals_is_said_once(make_evaluated):
    make_evaluated([True, False] * 5)
    make_evaluated([True] * 10)
    lines = text_of(2, 1).splitlines()
    (reason,) = [line for line in lines if "rests on" in line]
    assert reason == lines[-1] == "no 95% intervals: it rests on 10 independent images or groups; an interval needs 20"
    assert any(line.startswith("AP50/cat: ") and line.endswith("+0.4950") for line in lines)


def test_versions_of_different_test_sets_have_no_interval(make_evaluated):
    make_evaluated([True, False] * 50)
    make_evaluated([True, True, False] * 30, digest="tomorrow")
    lines = text_of(2, 1).splitlines()
    assert lines[-1].startswith("AP50: 0.5050 -> 0.6634, as recorded: there is no interval of the difference")


def test_settings_and_data_that_differ_are_listed(root, toy_onnx):
    for epochs, data in ((3, "a"), (5, "b")):
        with start_run("birds") as run:
            run.log_params({"train.epochs": epochs, "train.seed": 0})
            run.log_dataset("birds train", data * 64, "birds", "training")
        register("retinanet", run.id, toy_onnx(), str(epochs), {"AP50": 0.5}, "today", ["cat"])
    lines = text_of(2, 1).splitlines()
    assert lines[2:4] == ["train.epochs: 3 -> 5", f"data birds train: {'a' * 36} -> {'b' * 36}"]


def side(name: str, facts: dict[str, str], is_file: bool = False) -> Side:
    return Side(name, facts, None, None, lambda digest: None, is_file)


def test_only_sections_that_both_know_are_compared():
    version = side("version 1", {"train.epochs": "3", "train.seed": "0", "commit": "1234567"})
    revision = side("HEAD (abcdefa)", {"train.epochs": "5", "evaluate.ious": "[]", "commit": "1234567"})
    lines = differences_text("retinanet", revision, version, "AP50").splitlines()
    assert lines[2:-2] == ["train.epochs: 3 -> 5", "train.seed: 0 -> none"]


def test_of_a_file_only_the_settings_that_it_carries_are_compared():
    version = side("version 1", {"model.head_width": "64", "model.weights": "auto", "classes": "cat, dog"})
    file = side("a.onnx", {"model.head_width": "128", "classes": "cat", "threshold of cat": "0.3"}, True)
    lines = differences_text("retinanet", file, version, "AP50").splitlines()
    assert lines[0] == "retinanet: version 1 -> a.onnx"
    assert lines[2:-2] == ["model.head_width: 64 -> 128", "classes: cat, dog -> cat"]
    assert lines[-1].startswith("AP50: none -> none, as recorded: there is no interval of the difference")

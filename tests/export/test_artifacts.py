import copy

import pytest

from retinanet.errors import ExportError
from retinanet.export.accuracy import read_images
from retinanet.export.artifacts import Gate, Limits, export, table_row
from retinanet.export.runtimes import RUNTIMES, ExportRuntime
from retinanet.export.source import Source
from retinanet.export.speed import Speed
from retinanet.inference.detections import STANDARD_DECODING, Detections
from retinanet.inference.network import torch_detector

# The process that has trained the network of squares.
pytestmark = pytest.mark.xdist_group("onnx")

LIMITS = Limits(min_matched=0.99, min_iou=0.99, score_tolerance=1e-3, max_loss_bf16=0.001, max_loss_int8=0.01)


@pytest.fixture(scope="module")
def gate(squares, squares_network):
    trained = torch_detector(squares_network, STANDARD_DECODING)
    return Gate(trained, read_images(squares.images[:2], squares.reading), {"val": squares, "test": squares}, LIMITS)


def wrong_mean(model):
    model.mean += 0.5


def dropped_level(model):
    model.get_buffer("cell_anchors_0").zero_()  # P3, whose anchors fit the squares; boxes without area are dropped


def shifted_anchors(model):
    for level in range(5):
        model.get_buffer(f"cell_anchors_{level}").add_(4.0)


def spoiled(trained, spoil):
    model = copy.deepcopy(trained.model)
    spoil(model)
    return torch_detector(trained._replace(model=model), STANDARD_DECODING)


def slightly_changed(detector, by):
    """The detector with other scores, as rounding changes them."""

    def detect(images):
        return [Detections(d.boxes_xyxy + by, d.scores * (1 - by), d.labels) for d in detector(images)]

    return detect


def test_an_unchanged_model_passes_in_every_precision(gate, squares_network):
    exported = torch_detector(squares_network, STANDARD_DECODING)
    for precision in ("fp32", "bf16", "int8"):
        checked = gate.check("toy", precision, exported)
        assert checked.precision == precision and checked.agreement.matched_share == 1
        assert checked.accuracy["val"].ap == gate.accuracy["val"].ap > 0.5


@pytest.mark.parametrize("spoil", [wrong_mean, dropped_level, shifted_anchors])
@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("fp32", "the exported model differs from the trained one"),
        ("bf16", r"toy loses 0\.\d+ AP on val .* export.max_loss_bf16 is 0.001"),
        ("int8", r"toy loses 0\.\d+ AP on val .* export.max_loss_int8 is 0.01"),
    ],
)
def test_a_spoiled_model_is_refused(gate, squares_network, spoil, precision, message):
    with pytest.raises(ExportError, match=message):
        gate.check("toy", precision, spoiled(squares_network, spoil))


def test_rounding_that_costs_no_ap_is_refused_in_float32_only(gate):
    rounded = slightly_changed(gate.trained, by=0.01)
    assert 0.002 < gate.check("toy", "bf16", rounded).agreement.max_score_difference < 0.01
    with pytest.raises(ExportError, match="scores differ by up to"):
        gate.check("toy", "fp32", rounded)


def test_export_tries_more_exact_ways_until_one_passes(gate, squares_network, tmp_path, monkeypatch, capsys):
    def write(text):
        return lambda path, source: path.write_text(text)

    def open_detector(path):
        return {"rough": spoiled(squares_network, wrong_mean)}.get(path.read_text(), gate.trained)

    toy = ExportRuntime("toy.toy", (), write("rough"), open_detector, lambda: "int8", {" by halves": write("exact")})
    monkeypatch.setitem(RUNTIMES, "toy", toy)
    source = Source(squares_network, STANDARD_DECODING, tmp_path / "model.onnx")
    assert export("toy", tmp_path, source, gate).precision == "int8"
    assert (tmp_path / "toy.toy").read_text() == "exact"
    assert capsys.readouterr().out.startswith("export: toy loses 0.")
    monkeypatch.setitem(RUNTIMES, "toy", toy._replace(more_exact={" by halves": write("rough")}))
    with pytest.raises(ExportError, match="toy by halves loses 0"):
        export("toy", tmp_path, source, gate)


def test_table_row(gate, tmp_path):
    (tmp_path / "toy.toy").write_bytes(bytes(2_560_000))
    checked = gate.check("toy", "bf16", gate.trained)
    row = table_row("toy", checked, gate, [tmp_path / "toy.toy"], Speed(20.04, 31, 99.6, {}))
    ap = round(gate.accuracy["test"].ap, 4)
    assert {key: row[key] for key in ("runtime", "precision", "megabytes", "median_ms", "p95_ms")} == {
        "runtime": "toy",
        "precision": "bf16",
        "megabytes": 2.6,
        "median_ms": 20.0,
        "p95_ms": 31,
    }
    assert (row["memory_megabytes"], row["val_AP"], row["test_AP"], row["test_AP_change"]) == (100, ap, ap, 0)
    assert row["change_low"] is None  # eight images are too few for an interval
    of_trained = table_row("PyTorch", None, gate, [tmp_path / "toy.toy"], Speed(20.04, 31, 99.6, {}))
    assert of_trained["test_AP"] == ap and "matched_share" not in of_trained


def test_without_splits_only_float32_can_be_checked(gate):
    alone = Gate(gate.trained, gate.images, {}, LIMITS)
    assert alone.check("toy", "fp32", gate.trained).accuracy == {}
    assert "val_AP" not in table_row("PyTorch", None, alone, [], Speed(1, 1, 1, {}))

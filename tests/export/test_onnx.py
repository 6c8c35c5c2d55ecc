from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from support.squares import build_network

from retinanet.config.params import load_params
from retinanet.errors import ExportError
from retinanet.export import onnx_graph
from retinanet.export.gate import compare, require_agreement
from retinanet.export.onnx import write
from retinanet.export.runtimes import load_detector
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import Reading
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import DecodeSettings
from retinanet.inference.network import torch_detector
from retinanet.model.weights import TrainedModel

# An export takes half a minute: one process makes the file for all tests.
pytestmark = pytest.mark.xdist_group("onnx")

NAMES, IDS = ("cat", "dog"), (3, 8)
SETTINGS = DecodeSettings(score_threshold=0.05, nms_iou=0.5, candidates_per_level=200, detections_per_image=50)
THRESHOLDS = tuple(0.25 + 0.125 * label for label in range(len(NAMES)))
INPUT_SIZE, TILING = InputSize(96, 160), Tiling(200, 0.25)
READING = Reading(max_pixels=200_000_000, white_level=4095)


@pytest.fixture(scope="module")
def network():
    """A network with scattered scores."""
    torch.manual_seed(0)
    # A tiny backbone: the export of the default network takes a minute, and the pipeline's tests make it.
    model = build_network(load_params().model.model_copy(update={"backbone": "timm/test_resnet"}), len(NAMES)).eval()
    torch.nn.init.normal_(model.classification.last.weight, std=0.1)
    torch.nn.init.constant_(model.classification.last.bias, -4.0)
    return TrainedModel(model, NAMES, IDS, INPUT_SIZE, TILING, THRESHOLDS, READING)


@pytest.fixture(scope="module")
def pair(network, tmp_path_factory):
    """The network as a detector, and its ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write(path, network, SETTINGS)
    return torch_detector(network, SETTINGS), path


def images(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]


def test_onnx_agrees_with_pytorch_for_any_batch_and_size(pair):
    trained, path = pair
    exported = load_detector(path)
    samples = images((60, 80), (60, 80), (60, 80), (90, 50), (20, 200), (1, 1), (300, 250))
    agreement = compare(trained, exported, samples, score_tolerance=1e-3)
    assert agreement.detections > 50
    require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)
    assert max(len(d) for d in exported(samples[:-1])) == SETTINGS.detections_per_image  # the last is cut into tiles


def test_the_file_is_valid_and_contains_classes_and_input_size(pair):
    onnx.checker.check_model(onnx.load(pair[1]), full_check=True)
    detector = load_detector(pair[1])
    assert (detector.class_names, detector.category_ids) == (NAMES, IDS)
    assert (detector.input_size, detector.tiling) == (INPUT_SIZE, TILING)
    assert detector.thresholds == pair[0].thresholds == THRESHOLDS
    assert detector.reading == pair[0].reading == READING


def test_large_weights_are_written_to_a_second_file(small_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "ONE_FILE_BYTES", 100_000)
    (tmp_path / "model.onnx.data").write_bytes(b"of an earlier model")
    tiny = small_settings.model_copy(update={"backbone": "timm/test_resnet", "head_norm": "none"})
    trained = TrainedModel(build_network(tiny, len(NAMES)).eval(), NAMES, IDS, INPUT_SIZE)
    write(tmp_path / "model.onnx", trained, replace(SETTINGS, score_threshold=0.0))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"model.onnx", "model.onnx.data"}
    assert sizes["model.onnx"] < 1_000_000 < sizes["model.onnx.data"]
    exported, in_memory = (
        load_detector(tmp_path / "model.onnx"),
        torch_detector(trained, replace(SETTINGS, score_threshold=0.0)),
    )
    agreement = compare(in_memory, exported, images((60, 80), (90, 50)), score_tolerance=1e-3)
    assert agreement.detections
    require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)


def test_an_image_without_detections(pair):
    # To the network, a gray image is all padding: only its biases remain, which predict background.
    gray = [np.full((64, 64, 3), 128, np.uint8)]
    trained, path = pair
    assert [len(d) for d in trained(gray)] == [len(d) for d in load_detector(path)(gray)]


def test_different_boxes_fail_the_gate(pair):
    trained, path = pair
    exported = load_detector(path)

    def shifted(batch):
        return [type(d)(d.boxes_xyxy + 3, d.scores, d.labels) for d in exported(batch)]

    agreement = compare(trained, shifted, images((60, 80)), score_tolerance=1e-3)
    with pytest.raises(ExportError, match="differs from the trained one"):
        require_agreement(agreement, min_matched=0.5, min_iou=0.99, score_tolerance=1e-3)

from dataclasses import replace

import onnx
import pytest
from support.squares import build_network

from retinanet.errors import ExportError
from retinanet.export import onnx_graph
from retinanet.export.gate import compare, require_agreement
from retinanet.export.onnx import write
from retinanet.export.runtimes import load_detector
from retinanet.export.source import Source
from retinanet.images.preprocess import InputSize
from retinanet.inference.network import torch_detector
from retinanet.model.weights import TrainedModel

# An export takes half a minute: one process makes the file for all tests.
pytestmark = pytest.mark.xdist_group("onnx")


@pytest.fixture
def pair(source, settings):
    """The network as a detector, and its ONNX file."""
    return torch_detector(source.trained, settings), source.onnx


def test_onnx_agrees_with_pytorch_for_any_batch_and_size(pair, settings, noise):
    trained, path = pair
    exported = load_detector(path)
    samples = noise((60, 80), (60, 80), (60, 80), (90, 50), (20, 200), (1, 1), (3, 2000), (300, 250))
    agreement = compare(trained, exported, samples, score_tolerance=1e-3)
    assert agreement.detections > 50
    require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)
    uncut = [found for image, found in zip(samples, exported(samples), strict=True) if max(image.shape) <= 200]
    assert max(map(len, uncut)) == settings.detections_per_image


def test_80_classes(source_of_80_classes, settings, noise):
    trained, exported = torch_detector(source_of_80_classes.trained, settings), load_detector(source_of_80_classes.onnx)
    agreement = compare(trained, exported, noise((60, 80)), score_tolerance=1e-3)
    require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)
    assert len(exported.class_names) == 80


def test_the_file_is_valid_and_contains_classes_and_input_size(pair, network):
    onnx.checker.check_model(onnx.load(pair[1]), full_check=True)
    detector = load_detector(pair[1])
    assert (detector.class_names, detector.category_ids) == (network.class_names, network.category_ids)
    assert (detector.input_size, detector.tiling) == (network.input_size, network.tiling)
    assert detector.thresholds == pair[0].thresholds == network.thresholds
    assert detector.reading == pair[0].reading == network.reading


def test_large_weights_are_written_to_a_second_file(small_settings, settings, noise, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "ONE_FILE_BYTES", 100_000)
    (tmp_path / "model.onnx.data").write_bytes(b"of an earlier model")
    tiny = small_settings.model_copy(update={"backbone": "timm/test_resnet", "head_norm": "none"})
    trained = TrainedModel(build_network(tiny, 2).eval(), ("cat", "dog"), (3, 8), InputSize(96, 160))
    everything = replace(settings, score_threshold=0.0)
    write(tmp_path / "model.onnx", Source(trained, everything, tmp_path / "model.onnx"))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"model.onnx", "model.onnx.data"}
    assert sizes["model.onnx"] < 1_000_000 < sizes["model.onnx.data"]
    exported, in_memory = load_detector(tmp_path / "model.onnx"), torch_detector(trained, everything)
    agreement = compare(in_memory, exported, noise((60, 80), (90, 50)), score_tolerance=1e-3)
    assert agreement.detections
    require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)


def test_different_boxes_fail_the_gate(pair, noise):
    trained, path = pair
    exported = load_detector(path)

    def shifted(batch):
        return [type(d)(d.boxes_xyxy + 3, d.scores, d.labels) for d in exported(batch)]

    agreement = compare(trained, shifted, noise((60, 80)), score_tolerance=1e-3)
    with pytest.raises(ExportError, match="differs from the trained one"):
        require_agreement(agreement, min_matched=0.5, min_iou=0.99, score_tolerance=1e-3)

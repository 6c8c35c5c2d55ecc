"""Adding a runtime takes a module with write and open_detector, and an entry in RUNTIMES: shown with a toy one."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.squares import build_network

from retinanet.errors import WeightsError
from retinanet.export import runtimes
from retinanet.export.gate import compare, require_agreement
from retinanet.export.runtimes import RUNTIMES, ExportRuntime, exported_runtime, load_detector, load_exported
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings
from retinanet.inference.detector import Detector
from retinanet.inference.network import torch_detector
from retinanet.model.weights import TrainedModel, load_model, save_model


def write(path: Path, trained: TrainedModel, settings: DecodeSettings) -> None:
    path.write_text(json.dumps(vars(settings)))
    save_model(path.with_name("weights.safetensors"), trained)


def open_detector(path: Path) -> Detector:
    return torch_detector(
        load_model(path.with_name("weights.safetensors")), DecodeSettings(**json.loads(path.read_text()))
    )


@pytest.fixture
def toy_runtime(monkeypatch) -> ExportRuntime:
    monkeypatch.setitem(RUNTIMES, "toy", ExportRuntime("model.toy", ("toy-package",), write, open_detector))
    return RUNTIMES["toy"]


def test_a_runtime_in_the_table_is_exported_opened_and_gated(toy_runtime, small_settings, tmp_path):
    trained = TrainedModel(build_network(small_settings, 1).eval(), ("cat",), (3,), InputSize(96, 128))
    settings = DecodeSettings(**vars(STANDARD_DECODING) | {"score_threshold": 0.0, "detections_per_image": 9})
    toy_runtime.write(tmp_path / toy_runtime.file_name, trained, settings)
    assert exported_runtime(tmp_path).requirements == ("toy-package",)
    images = [np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)]
    for exported in (load_exported(tmp_path), load_detector(tmp_path / "model.toy")):
        agreement = compare(torch_detector(trained, settings), exported, images, score_tolerance=1e-3)
        require_agreement(agreement, min_matched=1.0, min_iou=0.99, score_tolerance=1e-3)
        assert agreement.detections == 9 and exported.class_names == ("cat",)


def test_messages_name_the_files_of_all_runtimes(toy_runtime, tmp_path):
    with pytest.raises(WeightsError, match=r"no exported model \(model.onnx or model.toy\)"):
        load_exported(tmp_path)
    with pytest.raises(WeightsError, match=r"expected .safetensors or an exported model \(.onnx, .toy\)"):
        load_detector(tmp_path / "model.pt")


def test_only_the_table_names_a_runtime():
    """The registry, predict and the served model take whatever runtime the table has."""
    package = Path(runtimes.__file__).parents[1]
    for folder in ("tracking", "cli", "inference"):
        for path in (package / folder).rglob("*.py"):
            assert "export.onnx" not in path.read_text(encoding="utf-8"), path

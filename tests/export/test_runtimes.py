"""Adding a runtime takes a module with write and open_detector, and an entry in RUNTIMES: shown with a toy one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.squares import build_network

from retinanet.errors import WeightsError
from retinanet.export import runtimes
from retinanet.export.gate import compare, require_agreement
from retinanet.export.runtimes import RUNTIMES, ExportRuntime, exported_runtime, load_detector, load_exported
from retinanet.export.source import Source
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING, DecodeSettings
from retinanet.inference.detector import Detector
from retinanet.inference.network import torch_detector
from retinanet.model.weights import TrainedModel, load_model, save_model


def write(path: Path, source: Source) -> None:
    path.write_text(json.dumps(vars(source.settings)))
    save_model(path.with_suffix(".safetensors"), source.trained)


def open_detector(path: Path) -> Detector:
    return torch_detector(load_model(path.with_suffix(".safetensors")), DecodeSettings(**json.loads(path.read_text())))


@pytest.fixture
def toy_runtime(monkeypatch) -> ExportRuntime:
    monkeypatch.setitem(RUNTIMES, "toy", ExportRuntime("toy.toy", ("toy-package",), write, open_detector))
    return RUNTIMES["toy"]


def test_a_runtime_in_the_table_is_exported_opened_and_gated(toy_runtime, small_settings, tmp_path):
    trained = TrainedModel(build_network(small_settings, 1).eval(), ("cat",), (3,), InputSize(96, 128))
    settings = DecodeSettings(**vars(STANDARD_DECODING) | {"score_threshold": 0.0, "detections_per_image": 9})
    toy_runtime.write(tmp_path / toy_runtime.file_name, Source(trained, settings, tmp_path / "model.onnx"))
    assert exported_runtime(tmp_path).requirements == ("toy-package",)
    images = [np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)]
    for exported in (load_exported(tmp_path), load_detector(tmp_path / "toy.toy")):
        agreement = compare(torch_detector(trained, settings), exported, images, score_tolerance=1e-3)
        require_agreement(agreement, min_matched=1.0, min_iou=0.99, score_tolerance=1e-3)
        assert agreement.detections == 9 and exported.class_names == ("cat",)


def test_a_runtime_has_the_files_of_its_stem(tmp_path):
    for name in ("model.onnx", "model.onnx.data", "openvino.xml", "openvino.bin", "openvino-int8.xml"):
        (tmp_path / name).touch()
    names = {runtime: [path.name for path in RUNTIMES[runtime].files(tmp_path)] for runtime in RUNTIMES}
    assert names == {
        "onnx": ["model.onnx", "model.onnx.data"],
        "openvino": ["openvino.bin", "openvino.xml"],
        "openvino-int8": ["openvino-int8.xml"],
    }


def test_no_two_runtimes_share_a_stem():
    stems = [runtime.file_name.split(".")[0] for runtime in RUNTIMES.values()]
    assert len(stems) == len(set(stems))


def test_the_preferred_runtime_of_a_folder_is_used_if_its_model_is_there(tmp_path):
    (tmp_path / "model.onnx").touch()
    assert exported_runtime(tmp_path, "openvino") is RUNTIMES["onnx"]
    (tmp_path / "openvino.xml").touch()
    assert exported_runtime(tmp_path, "openvino") is RUNTIMES["openvino"]
    assert exported_runtime(tmp_path) is RUNTIMES["onnx"]


def test_messages_name_the_files_of_all_runtimes(toy_runtime, tmp_path):
    with pytest.raises(
        WeightsError, match=r"no exported model \(model.onnx or openvino.xml or openvino-int8.xml or toy.toy\)"
    ):
        load_exported(tmp_path)
    with pytest.raises(WeightsError, match=r"expected .safetensors or an exported model \(.onnx, .xml, .toy\)"):
        load_detector(tmp_path / "model.pt")


def test_only_the_table_names_a_runtime():
    """The registry, predict and the served model take whatever runtime the table has."""
    package = Path(runtimes.__file__).parents[1]
    for folder in ("tracking", "cli", "inference"):
        for path in (package / folder).rglob("*.py"):
            assert not re.search(r"export\.(onnx|openvino)", path.read_text(encoding="utf-8")), path


@pytest.mark.xdist_group("onnx")
@pytest.mark.parametrize("name", RUNTIMES)
def test_an_image_without_detections(name, squares_source, tmp_path):
    path = squares_source.onnx
    if name != "onnx":
        path = tmp_path / RUNTIMES[name].file_name
        RUNTIMES[name].write(path, squares_source)
    nothing, square = (np.full((96, 96, 3), 75, np.uint8) for _ in range(2))
    square[20:60, 20:60] = 250
    detector = RUNTIMES[name].open_detector(path)
    found = detector([nothing, square, nothing])
    assert [len(detections) > 0 for detections in found] == [False, True, False]
    assert found[0].boxes_xyxy.shape == (0, 4)

import sys

import numpy as np
import pytest
from PIL import Image

from retinanet.errors import ExportError, WeightsError
from retinanet.export import openvino, openvino_int8
from retinanet.export.accuracy import read_images
from retinanet.export.artifacts import Gate, Limits
from retinanet.inference.network import torch_detector

# The process that has trained the network of squares.
pytestmark = pytest.mark.xdist_group("onnx")

LIMITS = Limits(min_matched=0.99, min_iou=0.99, score_tolerance=1e-3, max_loss_bf16=0.001, max_loss_int8=0.1)


@pytest.fixture(scope="module")
def gate(squares, squares_source):
    trained = torch_detector(squares_source.trained, squares_source.settings)
    return Gate(trained, read_images(squares.images, squares.reading), {"val": squares, "test": squares}, LIMITS)


@pytest.fixture(scope="module")
def floats_and_bytes(squares_source, tmp_path_factory):
    """The files of the network in floating point, in 8 bits, and in 8 bits with its backbone in floating point."""
    folder = tmp_path_factory.mktemp("int8")
    writers = (openvino.write, openvino_int8.write, *openvino_int8.MORE_EXACT.values())
    for number, write in enumerate(writers):
        write(folder / f"{number}.xml", squares_source)
    return [folder / f"{number}.xml" for number in range(len(writers))]


def test_detections_stay_those_of_pytorch(floats_and_bytes, gate):
    for path in floats_and_bytes:
        checked = gate.check("openvino-int8", "int8", openvino.open_detector(path))
        assert checked.agreement.matched_share > 0.5


def test_weights_take_a_quarter_of_the_bytes_except_those_in_float(floats_and_bytes):
    floats, all_bytes, backbone_in_float = (path.with_suffix(".bin").stat().st_size for path in floats_and_bytes)
    assert all_bytes < 0.3 * floats
    assert 0.8 * floats < backbone_in_float < floats  # the backbone has most of the weights


def test_bad_calibration_is_caught(squares_source, gate, tmp_path):
    Image.new("RGB", (96, 96), "gray").save(tmp_path / "gray.png")
    path = tmp_path / "openvino-int8.xml"
    openvino_int8.write(path, squares_source._replace(images=[tmp_path / "gray.png"]))
    with pytest.raises(ExportError, match=r"openvino-int8 loses 0\.\d+ AP on val"):
        gate.check("openvino-int8", "int8", openvino.open_detector(path))


def test_network_inputs_are_those_of_a_detector(squares_source):
    inputs = openvino_int8.network_inputs(squares_source)
    assert len(inputs) == 8
    assert {each["images"].shape for each in inputs} == {(1, 96, 96, 3)}
    assert inputs[0]["sizes"].tolist() == [[96, 96]] and inputs[0]["sizes"].dtype == np.int64


def test_without_nncf_the_message_names_the_extra(squares_source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(WeightsError, match=r"8-bit models are made by nncf, .* run pip install 'retinanet\[int8\]'"):
        openvino_int8.write(tmp_path / "openvino-int8.xml", squares_source)

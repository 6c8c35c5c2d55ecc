import pytest
from PIL import Image
from support.toy_onnx import write_toy_onnx

from retinanet.errors import ExportError
from retinanet.export.speed import measure_speed


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{side}.png" for side in (40, 64)]
    for path in paths:
        Image.new("RGB", (int(path.stem), 48)).save(path)
    return paths


def test_speed_of_a_model_is_that_of_a_process_that_has_opened_it(tmp_path, images):
    write_toy_onnx(tmp_path / "toy.onnx")
    speed = measure_speed(tmp_path / "toy.onnx", images)
    assert 0 < speed.median_ms <= speed.p95_ms
    # Python with numpy, OpenCV and ONNX Runtime; with torch it would be several hundred.
    assert 20 < speed.memory_megabytes < 200


def test_a_model_that_cannot_be_run_is_named(tmp_path, images):
    (tmp_path / "toy.onnx").write_bytes(b"damaged")
    with pytest.raises(ExportError, match=r"toy.onnx cannot be run in a process of its own: .*damaged"):
        measure_speed(tmp_path / "toy.onnx", images)

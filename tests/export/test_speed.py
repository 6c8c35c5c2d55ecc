import subprocess
import sys
from pathlib import Path

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


def test_speed_has_metrics_of_each_part_of_the_pipeline(tmp_path, images):
    write_toy_onnx(tmp_path / "toy.onnx")
    speed = measure_speed(tmp_path / "toy.onnx", images)
    parts = ("read", "network", "resize")
    names = [
        "latency_p95_ms",
        "latency_ms",
        "peak_memory_mb",
        *(f"{part}_{of}ms" for part in parts for of in ("", "p95_")),
    ]
    assert list(speed.metrics) == names
    assert all(0 <= speed.metrics[f"{part}_ms"] <= speed.metrics[f"{part}_p95_ms"] for part in (*parts, "latency"))
    assert speed.metrics["read_ms"] < speed.metrics["latency_ms"] > speed.metrics["network_ms"]
    assert 0.99 * speed.memory_megabytes <= speed.metrics["peak_memory_mb"] < 250


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak")
def test_peak_memory_includes_what_was_freed(tmp_path, images):
    """In a process of its own: 300 MB are allocated, written and freed."""
    code = (
        "import numpy; numpy.ones(300_000_000, numpy.uint8); from retinanet.export.speed import _peak; print(_peak(0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 300e6 < int(done.stdout) < 600e6


def test_a_model_that_cannot_be_run_is_named(tmp_path, images):
    (tmp_path / "toy.onnx").write_bytes(b"damaged")
    with pytest.raises(ExportError, match=r"toy.onnx cannot be run in a process of its own: .*damaged"):
        measure_speed(tmp_path / "toy.onnx", images)

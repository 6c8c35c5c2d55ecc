"""The script of docs/inference.md detects on a folder of images with Spark."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from retinanet.export.runtimes import load_exported
from retinanet.inference.detector import Detector
from retinanet.tracking.served_files import write_served_files

ROOT = Path(__file__).parents[2]
IMAGES, BROKEN = 60, (3, 27, 59)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("pyspark"), reason="needs pyspark (`uv sync --group spark`)"),
    pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java"),
]


@pytest.fixture
def detector(tmp_path, toy_onnx) -> Detector:
    """The detector of a version in the folder `version`, without a registry."""
    write_served_files(tmp_path / "version", toy_onnx(), None, tmp_path / "temporary", "", "")
    return load_exported(tmp_path / "exported")


def test_script_answers_every_image_once_and_names_the_broken_ones(detector, tmp_path):
    save_images(tmp_path / "images", range(40))
    save_images(tmp_path / "later", range(40, IMAGES))
    assert run_twice(tmp_path) == ["40 of 40 images", "20 of 20 images"]
    rows = pd.read_parquet(tmp_path / "detections")
    assert sorted(int(Path(file).stem) for file in rows.file) == list(range(IMAGES))
    for row in rows.itertuples():
        path = Path(row.file.removeprefix("file:"))
        if int(path.stem) in BROKEN:
            assert (len(row.boxes), len(row.scores), len(row.labels)) == (0, 0, 0)
            assert "expected JPEG, PNG" in row.error
        else:
            (found,) = detector([np.asarray(Image.open(path))])
            assert pd.isna(row.error)
            np.testing.assert_allclose(np.stack(row.boxes), found.boxes_xyxy)
            np.testing.assert_allclose(row.scores, found.scores, rtol=1e-6)
            assert list(row.labels) == [detector.class_names[label] for label in found.labels]


def save_images(folder: Path, numbers: range) -> None:
    """PNGs named by number, each of another size; the BROKEN ones hold text."""
    folder.mkdir()
    for number in numbers:
        Image.new("RGB", (8 + number, 6)).save(folder / f"{number}.png")
        if number in BROKEN:
            (folder / f"{number}.png").write_text("no image")


def run_twice(folder: Path) -> list[str]:
    """Run the script of the page, and again with the images in `later`; returns the lines it printed."""
    page = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```py\n(.*?)```", page.partition("## In bulk, on Spark")[2].partition("\n## ")[0], re.S)
    (folder / "detect_on_spark.py").write_text(script)
    local = "--master local[2] --conf spark.driver.bindAddress=127.0.0.1 --conf spark.driver.host=127.0.0.1"
    local += " --conf spark.ui.enabled=false pyspark-shell"
    environment = os.environ | {"PYSPARK_SUBMIT_ARGS": local, "PYSPARK_PYTHON": sys.executable}
    # In one process, which starts Spark once.
    run, move = "runpy.run_path('detect_on_spark.py')", "os.rename('later', 'images/later')"
    command = [sys.executable, "-c", f"import os, runpy; {run}; {move}; {run}", "version", "images", "detections"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()

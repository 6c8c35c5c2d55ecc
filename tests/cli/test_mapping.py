import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyogrio
import pyogrio.raw
import pytest
from PIL import Image
from support.blobs import map_blobs, rectangles, scattered_boxes, write_raster
from support.toy_onnx import write_toy_onnx

from retinanet.cli.main import main
from retinanet.cli.mapping import model_digest

ROOT = Path(__file__).parents[2]
BOXES = scattered_boxes(330, 410)


@pytest.fixture
def raster(tmp_path, monkeypatch) -> Path:
    """The working directory, with a.tif of 410 x 330 px, which has 10 columns and 7 rows of tiles, and toy.onnx."""
    monkeypatch.chdir(tmp_path)
    write_toy_onnx(tmp_path / "toy.onnx")
    return write_raster(Path("a.tif"), rectangles(330, 410, BOXES))


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", "map", "--model", "toy.onnx", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def start(out: str, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-m", "support.blobs", "a.tif", out, str(seconds)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def finished_rows(out: str) -> int:
    journal = Path(f"{out}.journal")
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_killed_three_times_and_continued_the_result_is_the_same(raster, suffix):
    assert map_blobs(raster, Path(f"whole{suffix}")) == {"blob": len(BOXES)}
    for rows in (1, 3, 5):
        with start(f"killed{suffix}", seconds=0.03) as process:
            while finished_rows(f"killed{suffix}") < rows:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not Path(f"killed{suffix}").exists()
    with start(f"killed{suffix}", seconds=0) as process:
        output = process.stdout.read()
    assert re.match(r"continuing after [56] of 7 rows of tiles: killed\.\w+\.journal\n", output), output
    whole, killed = (pyogrio.raw.read(f"{name}{suffix}", layer=None) for name in ("whole", "killed"))
    assert whole[0]["crs"] == killed[0]["crs"] == ("EPSG:32612" if suffix == ".gpkg" else "EPSG:4326")
    assert whole[2].tolist() == killed[2].tolist()
    assert [column.tolist() for column in whole[3]] == [column.tolist() for column in killed[3]]
    assert sorted(path.name for path in Path().iterdir()) == ["a.tif", f"killed{suffix}", "toy.onnx", f"whole{suffix}"]


def test_a_changed_model_or_raster_starts_again_and_says_so(raster, capsys):
    with start("trees.gpkg", seconds=0.03) as process:
        while finished_rows("trees.gpkg") < 2:
            time.sleep(0.01)
        process.kill()
    os.utime(raster, (1, 1))
    assert map_blobs(raster, Path("trees.gpkg"), digest="2") == {"blob": len(BOXES)}
    assert capsys.readouterr().out == ("starting again: not the model, raster that trees.gpkg.journal was begun with\n")


@pytest.mark.parametrize(("model", "weights"), [("a.onnx", "a.onnx.data"), ("a.xml", "a.bin")])
def test_digest_of_a_model_changes_with_the_weights_beside_it(tmp_path, model, weights):
    (tmp_path / model).write_bytes(b"1")
    digests = [model_digest(tmp_path / model)]
    for content in (b"1", b"2"):
        (tmp_path / weights).write_bytes(content)
        digests.append(model_digest(tmp_path / model))
    assert len(set(digests)) == 3


def test_after_ctrl_c_the_same_command_continues(raster, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("support.blobs._blobs", interrupt)
    with pytest.raises(KeyboardInterrupt):
        map_blobs(raster, Path("trees.gpkg"))
    assert "0 of 7 rows of tiles are kept in trees.gpkg.journal; the same command continues" in capsys.readouterr().err
    monkeypatch.undo()


def test_command_writes_a_layer_and_says_what_it_is(raster, monkeypatch, capsys):
    """The toy model finds a cat in the middle half of every tile."""
    assert run(monkeypatch, "a.tif", "--out", "cats.gpkg", "--tile", "100", "--overlap", "0", "--window", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"model: toy\.onnx sha256:[0-9a-f]{12}", lines[0])
    assert lines[1:3] == ["raster: 410 x 330 px, EPSG:32612", "tiles: 3 rows of 4, 150 px, every 150 px"]
    assert lines[-1] == "12 cat: cats.gpkg"
    _, _, _, (names, scores, models) = pyogrio.raw.read("cats.gpkg")
    assert set(names) == {"cat"} and set(scores) == {0.9} and f"model: {models[0]}" == lines[0]


def test_command_says_that_coordinates_are_pixels(raster, monkeypatch, capsys):
    Image.new("RGB", (150, 150)).save("plain.png")
    assert run(monkeypatch, "plain.png", "--out", "cats.geojson", "--tile", "100", "--overlap", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "raster: 150 x 150 px, no coordinate system, so that coordinates are pixels, y downwards"
    assert lines[-1] == "1 cat: cats.geojson"
    [feature] = json.loads(Path("cats.geojson").read_text())["features"]
    assert feature["geometry"]["coordinates"][0][0] == [37.5, 37.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tif", "--out", "a.gpkg"], "missing.tif: no such file"),
        (["a.tif", "--out", "a.shp"], "a.shp: the name must end in .gpkg or .geojson"),
        (["a.tif", "--out", "a.gpkg"], "the model was trained on full images, not on tiles: give the side"),
        (["a.tif", "--out", "a.gpkg", "--bands", "4"], "a.tif: has 3 bands and no band 4; choose others with --bands"),
    ],
)
def test_mistakes_are_one_line(raster, monkeypatch, capsys, arguments, message):
    assert run(monkeypatch, *arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not Path("a.gpkg").exists() and not Path("a.gpkg.journal").exists()

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.workspace import in_pipeline_repository

from retinanet.cli import inputs
from retinanet.cli.inputs import find_images, model_path, read_ahead, relative_names
from retinanet.errors import ImageError, TrackingError, WeightsError
from retinanet.images.reading import STANDARD_READING


@pytest.fixture
def folder(two_images):
    Path("notes.txt").write_text("no image")
    return two_images


def test_find_images_lists_named_files_and_images_in_folders(folder, capsys):
    assert find_images(["more", "notes.txt"]) == [Path("more/a.png"), Path("notes.txt")]
    assert find_images([".", "a.png", "more/../a.png"]) == [Path("a.png"), Path("more/a.png")]
    assert capsys.readouterr().out == ".: not read, 1 other files: notes.txt\n"
    Path("empty").mkdir()
    with pytest.raises(ImageError, match="no images in this folder"):
        find_images(["empty"])


def test_find_images_leaves_hidden_files_out(folder):
    Path("more/._a.png").write_bytes(b"x")
    Path("more/.thumbnails.jpg").mkdir()
    assert find_images(["more"]) == [Path("more/a.png")]


def test_find_images_leaves_the_results_of_an_earlier_run_out(folder, capsys):
    for name in ("detections.json", "images.json"):
        Path("more", name).write_text("[]")
    assert find_images(["."]) == [Path("a.png")]
    assert "more: not read, it has the results of an earlier run\n" in capsys.readouterr().out
    assert find_images(["more"]) == [Path("more/a.png")]


def test_find_images_lists_folders_and_links_that_are_called_like_images(folder):
    Path("more/x.jpg").mkdir()
    Path("more/full.jpg").mkdir()
    Image.new("RGB", (2, 2)).save("more/full.jpg/b.png")
    Path("more/folder.jpg").symlink_to(folder)
    Path("more/gone.jpg").symlink_to("nowhere.jpg")
    names = ["a.png", "folder.jpg", "full.jpg/b.png", "gone.jpg", "x.jpg"]
    assert find_images(["more"]) == [Path("more", name) for name in names]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("x.jpg", "x.jpg: is a folder, not an image; rename it"),
        ("folder.jpg", "folder.jpg: is a folder, not an image; rename it"),
        ("gone.jpg", "gone.jpg: is a link to nowhere.jpg, which does not exist; restore or remove it"),
        ("pipe.jpg", "pipe.jpg: is not a regular file; save the image to one"),
        ("missing.jpg", "missing.jpg: no such file"),
        ("notes.txt", "notes.txt: is not an image; expected JPEG, PNG, TIFF …"),
    ],
)
def test_read_ahead_returns_the_error_of_what_is_no_image(folder, name, error):
    Path("x.jpg").mkdir()
    Path("folder.jpg").symlink_to(folder)
    Path("gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo("pipe.jpg")
    (_, found), (_, image) = read_ahead([Path(name), Path("a.png")], STANDARD_READING)
    assert isinstance(found, ImageError) and str(found) == error
    assert image.pixels.shape == (10, 20, 3)


def test_read_ahead_keeps_the_order_and_few_images(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(inputs, "decode_image", lambda path, _: read.append(path) or int(path.stem))
    paths = [Path(f"{i}.png") for i in range(50)]
    reader = read_ahead(paths, STANDARD_READING)
    assert next(reader) == (paths[0], 0)
    assert len(read) <= inputs.MAX_WAITING
    assert list(reader) == [(path, i) for i, path in enumerate(paths)][1:]
    assert list(read_ahead([], STANDARD_READING)) == []


def test_read_ahead_stops_reading_when_it_is_closed(monkeypatch):
    read = []
    monkeypatch.setattr(inputs, "decode_image", lambda path, _: read.append(path) or np.zeros(1))
    reader = read_ahead([Path(f"{i}.png") for i in range(50)], STANDARD_READING)
    next(reader)
    reader.close()
    assert len(read) <= inputs.MAX_WAITING


def test_relative_names_stay_inside_the_common_folder(folder, monkeypatch):
    monkeypatch.chdir(folder / "more")
    names = relative_names([Path("../a.png"), Path("a.png")])
    assert names == {Path("../a.png"): "a.png", Path("a.png"): "more/a.png"}
    assert relative_names([]) == {}


def test_model_path_without_a_name_prefers_the_exported_model(folder):
    in_pipeline_repository()
    with pytest.raises(WeightsError, match="dvc repro"), model_path(None):
        pass
    for name in ("models/model.safetensors", "models/export/model.onnx"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
        with model_path(None) as path:
            assert path == Path(name)
    with model_path("other.onnx") as path:
        assert path == Path("other.onnx")


def test_model_path_without_a_name_outside_of_a_repository_is_an_error(folder):
    with pytest.raises(WeightsError, match="no default model; use --model"), model_path(None):
        pass


@pytest.mark.parametrize("uri", ["models:/", "models:/retinanet", "models:/@production", "models:/a/1@b"])
def test_model_path_with_an_incomplete_uri_is_an_error(uri, folder):
    with pytest.raises(TrackingError, match="not a model version"), model_path(uri):
        pass

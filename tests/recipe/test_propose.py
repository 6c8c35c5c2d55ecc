"""Choices for real folders, with the time of a step given instead of measured."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.packed import zip_bytes
from support.prepare_workspace import pixels, sample_objects, write_coco, write_voc

from retinanet.config.params import load_params
from retinanet.config.settings import Params
from retinanet.errors import AnnotationError, DownloadError
from retinanet.files import sha256_of
from retinanet.recipe import propose as module
from retinanet.recipe.choices import Choice, with_choices
from retinanet.recipe.propose import Proposal, Wishes, propose
from retinanet.recipe.speed import Speed


@pytest.fixture
def params() -> Params:
    return with_choices(load_params(), [Choice("model.weights", "none", "no download")])


@pytest.fixture
def measured(monkeypatch) -> list[int]:
    """The short sides that steps were measured at; each step takes 0.05 s an image."""
    sides: list[int] = []

    def measure(params, train, weights, packaged, size, batch) -> Speed:
        if batch == params.train.batch_size:
            sides.append(size.short_side)
        assert all(Path(image.file_name).is_file() for image in train.images)
        return Speed(0.05 * batch, 0.05)

    monkeypatch.setattr(module, "_measure", measure)
    return sides


def chosen(proposal: Proposal) -> dict[str, object]:
    return {choice.key: choice.value for choice in proposal.choices}


def test_a_folder_becomes_the_source_and_its_images_set_the_size(tmp_path, params, measured):
    write_voc(tmp_path, sample_objects(30))
    proposal = propose(params, Wishes(tmp_path, 10, None), "none", tmp_path, tmp_path / "cache")
    values = chosen(proposal)
    assert (values["download.source"], values["download.folder.path"]) == ("folder", tmp_path.as_posix())
    assert measured == [values["model.short_side"]] == [96]  # twice the size of the images
    assert any(line.startswith("train ") for line in proposal.summary)
    assert all(choice.reason for choice in proposal.choices)
    assert with_choices(params, proposal.choices).train.epochs == values["train.epochs"]
    assert not (tmp_path / "cache").exists()


def test_dark_16_bit_images_are_read_again_with_a_white_level_that_fits(tmp_path, params, measured):
    write_voc(tmp_path, sample_objects(30))
    for path in tmp_path.rglob("*.png"):
        gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(gray * 16).save(path)
    proposal = propose(params, Wishes(tmp_path, 10, None), "none", tmp_path, tmp_path / "cache")
    assert chosen(proposal)["prepare.white_level"] == 4095
    assert not any("nearly black" in line for line in proposal.summary)


def test_an_archive_is_pinned_and_its_files_are_named_as_in_it(tmp_path, params, measured):
    (tmp_path / "set").mkdir()
    write_coco(tmp_path / "set", sample_objects(30))
    (tmp_path / "set/boxes.csv").write_text("images/p000.png,1,2,30,40,cat\n")
    archive = tmp_path / "set.zip"
    files = [path for path in (tmp_path / "set").rglob("*") if path.is_file()]
    archive.write_bytes(zip_bytes({str(path.relative_to(tmp_path)): path.read_bytes() for path in files}))
    proposal = propose(params, Wishes(archive, 10, "any"), "none", tmp_path, tmp_path / "cache")
    values = chosen(proposal)
    assert (values["download.source"], values["download.archive.url"]) == ("archive", archive.as_posix())
    assert values["download.archive.sha256"] == sha256_of(archive)
    assert values["train.augment.orientation"] == "any"
    assert any("voc" not in line and "csv (set/boxes.csv)" in line for line in proposal.summary)


def test_the_source_of_the_params_is_taken_without_a_folder(tmp_path, params, measured):
    write_voc(tmp_path, sample_objects(30))
    source = [Choice("download.source", "folder", ""), Choice("download.folder.path", str(tmp_path), "")]
    proposal = propose(with_choices(params, source), Wishes(None, 10, None), "none", tmp_path, tmp_path / "cache")
    assert not any(key.startswith("download.") for key in chosen(proposal))


def test_large_scenes_with_small_objects_keep_the_size_that_their_tiles_are_made_for(tmp_path, params, measured):
    """Objects of 12 px in images of 2000 px: tiles."""
    objects = {f"p{n:03}.png": [("dot", (100 + 20 * n, 300, 112 + 20 * n, 312))] for n in range(12)}
    write_coco(tmp_path, objects)
    annotations = tmp_path / "annotations.json"
    text = annotations.read_text().replace('"width": 64, "height": 48', '"width": 2000, "height": 2000')
    annotations.write_text(text)
    for number, name in enumerate(objects):
        Image.fromarray(pixels(number, 2000, 2000)).save(tmp_path / "images" / name)
    proposal = propose(params, Wishes(tmp_path, 10, None), "none", tmp_path, tmp_path / "cache")
    assert measured == [640]
    (reason,) = [choice.reason for choice in proposal.choices if choice.key == "model.short_side"]
    assert reason.startswith("images are cut into tiles of ") and reason.endswith(", which are made for this size")


def test_what_is_neither_folder_nor_archive_and_a_folder_without_annotations_raise(tmp_path, params, measured):
    with pytest.raises(DownloadError, match=r"nowhere: neither a folder nor a tar or zip archive; check the path"):
        propose(params, Wishes(tmp_path / "nowhere", 10, None), "none", tmp_path, tmp_path / "cache")
    with pytest.raises(AnnotationError, match="no annotations found"):
        propose(params, Wishes(tmp_path, 10, None), "none", tmp_path, tmp_path / "cache")


def test_data_without_a_usable_image_raises(tmp_path, params, measured):
    write_voc(tmp_path, sample_objects(5))
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    params = with_choices(params, [Choice("prepare.max_skipped", 1.0, "")])
    with pytest.raises(AnnotationError, match="train has 0 images and no objects"):
        propose(params, Wishes(tmp_path, 10, None), "none", tmp_path, tmp_path / "cache")

"""The prepare stage: the files it writes from each format."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.prepare_workspace import (
    ROOT,
    coco_content,
    pixels,
    replace_sections,
    sample_objects,
    voc_xml,
    write_coco,
    write_csv,
    write_metadata,
    write_voc,
    write_yolo,
)

BCCD = ROOT.parent / "shared/data/bccd.tar.gz"


def test_prepare_and_data_report_write_their_files(coco):
    out = coco.succeeds()
    written = {path for path in coco.tree() if path.startswith(("data/prepared/", "reports/"))}
    assert {
        f"data/prepared/{name}" for name in ("train.json", "val.json", "test.json", "index.json", "decisions.json")
    } <= written
    assert "reports/prepare/findings.json" in written
    coco.report()
    reported = {path for path in coco.tree() if path.startswith("reports/data/")}
    assert {"reports/data/statistics.json", "reports/data/index.html", "reports/data/images/train_1.jpg"} <= reported
    assert "format coco: 0 images and 0 boxes skipped" in out
    index = coco.read("data/prepared/index.json")
    assert len(index) == 13
    assert index["data/raw/images/p000.png"] == coco.tree()["data/raw/images/p000.png"]


def test_two_runs_give_the_same_bytes(coco):
    coco.succeeds()
    first = coco.tree()
    coco.succeeds()
    assert coco.tree() == first


def test_the_stage_as_a_program_succeeds_and_fails_without_traceback(coco):
    """The exit code, and one line on stderr without a traceback."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.prepare"]
    done = subprocess.run(command, cwd=coco.folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    before = coco.tree()
    (coco.raw / "annotations.json").write_text("{")
    done = subprocess.run(command, cwd=coco.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: data/raw/annotations.json: broken JSON") and done.stderr.count("\n") == 1
    assert {path: sha for path, sha in coco.tree().items() if path != "data/raw/annotations.json"} == {
        path: sha for path, sha in before.items() if path != "data/raw/annotations.json"
    }


@pytest.mark.parametrize("write", [write_voc, write_yolo, write_csv, write_metadata], ids=lambda one: one.__name__)
def test_every_format_gives_the_same_prepared_files(workspace, tmp_path, write):
    """The same bytes as COCO annotations give."""
    objects = sample_objects(20)
    write_coco(workspace.raw, objects)
    workspace.succeeds()
    prepared = {path: sha for path, sha in workspace.tree().items() if path.startswith("data/prepared")}
    shutil.rmtree(workspace.raw)
    write(workspace.raw, objects)
    workspace.succeeds()
    assert {path: sha for path, sha in workspace.tree().items() if path.startswith("data/prepared")} == prepared
    assert len(prepared) == 7  # two folders, and five files


def test_ids_with_gaps_are_kept_and_missing_fields_are_filled(coco):
    content = coco_content(sample_objects())
    for row in content["categories"]:
        row["id"] *= 45
    for row in content["annotations"]:
        row |= {"id": row["id"] * 7, "category_id": row["category_id"] * 45}
    replace_sections(coco, **content)
    coco.succeeds()
    assert coco.statistics()["category_ids"] == {"cat": 45, "dog": 90}
    for split in coco.prepared().values():
        assert [category["id"] for category in split["categories"]] == [45, 90]
        assert all(row["area"] == row["bbox"][2] * row["bbox"][3] for row in split["annotations"])
        assert all(row["iscrowd"] == 0 for row in split["annotations"])


def test_an_image_without_objects_is_kept(coco):
    coco.succeeds()
    assert "p012.png" in set.union(*coco.names().values())
    assert sum(split["negatives"] for split in coco.statistics()["splits"].values()) == 1


def test_file_names_with_any_characters_work(workspace):
    names = [
        "ä ö.png",
        "with space/b c.png",
        "line\nbreak.png",
        "日本.png",
        "a'b\"c.png",
        "tab\t.png",
        "%20.png",
        "#.png",
    ]
    write_coco(workspace.raw, {name: [("ca\nt ü", (1, 2, 30, 40))] for name in names})
    workspace.succeeds()
    stored = {image["file_name"] for split in workspace.prepared().values() for image in split["images"]}
    assert stored == {f"data/raw/images/{name}" for name in names}
    assert set(workspace.read("data/prepared/index.json")) == stored


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_file_name_that_is_not_utf8_is_skipped(workspace):
    write_yolo(workspace.raw, sample_objects())
    shutil.copy(workspace.raw / "images/p000.png", os.fsencode(workspace.raw) + b"/images/\xff.png")
    workspace.succeeds()
    assert workspace.statistics()["skipped_images"][0]["reason"] == "has a name that is not UTF-8; rename it"


def test_large_images_are_tiled(workspace):
    workspace.change(tile_size=200)
    large = pixels(0, 1000, 100)
    Image.fromarray(large).save(workspace.raw / "a.png")
    boxes = [("cat", (x, 20, x + 30, 60)) for x in range(0, 960, 40)]
    (workspace.raw / "a.xml").write_text(voc_xml("a.png", boxes, (1000, 100)))
    workspace.succeeds()
    assert workspace.names()["val"] == {"a_val_00650_00000.png"}
    assert workspace.names()["test"] == {"a_test_00800_00000.png"}
    tile = np.asarray(Image.open(workspace.folder / "data/prepared/tiles/a_val_00650_00000.png"))
    np.testing.assert_array_equal(tile, large[:, 650:800])


def test_auto_keeps_photographs_whole_and_says_why(workspace):
    workspace.change(tile_size="auto")
    write_voc(workspace.raw, sample_objects())
    assert "prepare.tile_size is auto: images are kept whole: the median object has" in workspace.succeeds()
    assert workspace.read("data/prepared/decisions.json") == {
        "tile_size": 0,
        "tile_overlap": 0.25,
        "orientation": "upright",
        "epochs": None,
    }


def test_one_scene_of_small_objects_is_cut_and_divided_and_both_are_said(workspace):
    workspace.change(tile_size="auto")
    Image.fromarray(pixels(0, 3000, 1000)).save(workspace.raw / "scene.png")
    boxes = [("car", (x, 20, x + 16, 36)) for x in range(0, 2960, 40)]
    (workspace.raw / "scene.xml").write_text(voc_xml("scene.png", boxes, (3000, 1000)))
    out = workspace.succeeds()
    assert "images are cut into tiles of 320 px: the median object has 3 px at the network's input (640 px)" in out
    assert "1 large images are divided in bands among train, val and test" in out and "scene.png" in out


def test_settings_of_the_package_belong_to_the_package(workspace):
    write_voc(workspace.raw, {name: [("Alive", box) for _, box in rows] for name, rows in sample_objects().items()})
    workspace.change(tile_size="auto")
    workspace.succeeds()
    assert workspace.prepared()["train"]["categories"][0]["name"] == "Alive"
    workspace.change_section("download", source="package")
    out = workspace.succeeds()
    assert "class Alive is renamed to Tree" in out and "by download.package.tile_size" in out
    assert workspace.read("data/prepared/decisions.json")["orientation"] == "any"
    assert workspace.prepared()["train"]["categories"][0]["name"] == "Tree"


def test_objects_that_tiles_cut_are_a_warning_or_an_error_that_names_the_setting(workspace):
    workspace.change(tile_size=400)
    for number in range(12):
        large = number % 4 == 0
        Image.fromarray(pixels(number, 640, 640)).save(workspace.raw / f"{number}.png")
        box = (20, 20, 620, 620) if large else (20, 20, 120, 120)
        (workspace.raw / f"{number}.xml").write_text(voc_xml(f"{number}.png", [("cat", box)], (640, 640)))
    assert "larger than half a tile (prepare.tile_size is 400)" in workspace.succeeds()
    for number in range(12):
        xml = workspace.raw / f"{number}.xml"
        xml.write_text(voc_xml(f"{number}.png", [("cat", (20, 20, 620, 620))], (640, 640)))
    assert (
        "and no objects; 12 of 12 objects are larger than half a tile (prepare.tile_size is 400)" in workspace.fails()
    )


@pytest.mark.skipif(not BCCD.exists(), reason=f"{BCCD} is not there")
def test_bccd_statistics_match_counts_by_hand(workspace):
    """Counted by hand: 2 boxes without area, 545 up to the edge, one pair of photographs of the same cells."""
    with tarfile.open(BCCD) as archive:
        archive.extractall(workspace.raw, filter="data")
    workspace.params["model"] |= {"short_side": 352, "long_side": 480}
    workspace.change(max_skipped=0.0)
    out = workspace.succeeds()
    statistics = workspace.statistics()
    assert statistics["splits"] == {
        "train": {
            "images": 205,
            "negatives": 0,
            "boxes": {"Platelets": 209, "RBC": 2382 - 1, "WBC": 214},
            "crowds": 0,
        },
        "val": {"images": 87, "negatives": 0, "boxes": {"Platelets": 83, "RBC": 968 - 1, "WBC": 87}, "crowds": 0},
        "test": {"images": 72, "negatives": 0, "boxes": {"Platelets": 69, "RBC": 805, "WBC": 71}, "crowds": 0},
    }
    assert [(Path(one["file"]).stem, one["reason"]) for one in statistics["skipped_boxes"]] == [
        ("BloodImage_00338", "RBC (504, 337, 504, 337) has no width or height"),
        ("BloodImage_00343", "RBC (181, 329, 181, 329) has no width or height"),
    ]
    assert statistics["clipped_boxes"] == []
    boxes = [box for _, _, box in workspace.annotations()]
    assert sum(x + width == 640 or y + height == 480 for x, y, width, height in boxes) == 545
    (pair,) = statistics["near_duplicates"]
    assert {Path(file).stem: split for file, split in pair.items()} == {
        "BloodImage_00037": "val",
        "BloodImage_00038": "train",
    }
    assert "warning: 1 pair of images looks the same but is in different splits" in out

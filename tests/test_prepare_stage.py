"""Every fault of the data through the stage itself, with the tree of files before and after."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_workspace import (
    ROOT,
    Workspace,
    coco_content,
    pixels,
    some_objects,
    voc_xml,
    write_coco,
    write_csv,
    write_metadata,
    write_voc,
    write_yolo,
)

BCCD = ROOT.parent / "shared/data/bccd.tar.gz"
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def workspace(tmp_path, monkeypatch, capsys) -> Workspace:
    return Workspace(tmp_path, monkeypatch, capsys)


@pytest.fixture
def coco(workspace) -> Workspace:
    write_coco(workspace.raw, some_objects())
    return workspace


def spoil(workspace: Workspace, **sections) -> None:
    """Replace sections of the COCO file."""
    content = json.loads((workspace.raw / "annotations.json").read_text()) | sections
    (workspace.raw / "annotations.json").write_text(json.dumps(content))


def with_boxes(workspace: Workspace, *boxes) -> None:
    """Add boxes [x, y, width, height] of class 1 to the first picture, which has one."""
    content = json.loads((workspace.raw / "annotations.json").read_text())
    for number, box in enumerate(boxes, start=1000):
        content["annotations"].append({"id": number, "image_id": 1, "category_id": 1, "bbox": box})
    spoil(workspace, annotations=content["annotations"])


def test_what_is_written(coco):
    out = coco.works()
    written = {path for path in coco.tree() if path.startswith(("data/prepared/", "reports/"))}
    assert {f"data/prepared/{name}" for name in ("train.json", "val.json", "test.json", "index.json")} <= written
    assert {"reports/data/figures.json", "reports/data/index.html", "reports/data/pictures/train_1.jpg"} <= written
    assert "data/prepared made from coco; 0 pictures and 0 boxes skipped" in out
    index = coco.read("data/prepared/index.json")
    assert len(index) == 13
    assert index["data/raw/images/p000.png"] == coco.tree()["data/raw/images/p000.png"]


def test_twice_gives_the_same_bytes(coco):
    coco.works()
    first = coco.tree()
    coco.works()
    assert coco.tree() == first


def test_as_a_program(coco):
    """What DVC runs: the exit code, and one line on stderr without a traceback."""
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


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b""), "has 0 bytes"),
        (lambda path: path.write_bytes(b"<!doctype html><p>no"), "is an HTML page"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "damaged or truncated"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: Image.fromarray(pixels(0, 32, 24)).save(path), "is 32 x 24 but annotated as 64 x 48"),
        (lambda path: Image.fromarray(pixels(0, 300, 300)).save(path), "more than 10000 pixels"),
    ],
    ids=["0 bytes", "HTML", "truncated", "missing", "another size", "over the limit"],
)
def test_an_unusable_picture_is_skipped_and_listed(coco, damage, reason):
    coco.change(max_pixels=10_000)
    damage(coco.raw / "images/p003.png")
    coco.works()
    (skipped,) = coco.figures()["skipped_pictures"]
    assert skipped["file"].endswith("p003.png") and reason in skipped["reason"]
    assert "p003.png" not in set.union(*coco.names().values())
    assert len(set.union(*coco.names().values())) == 12


def test_too_many_unusable_pictures_fail_the_stage(coco):
    coco.works()
    coco.change(max_skipped=0.05)
    (coco.raw / "images/p003.png").write_bytes(b"")
    said = coco.fails()
    assert "1 of 13 pictures cannot be used, more than prepare.max_skipped = 0.05" in said and "has 0 bytes" in said


def test_unusual_pictures_are_read_and_counted(coco):
    images = coco.raw / "images"
    grey = Image.fromarray(pixels(51)[:, :, 0])
    content = coco_content(some_objects())
    kinds = {
        "cmyk.tif": (Image.fromarray(pixels(52)).convert("CMYK"), {}),
        "grey.png": (grey, {}),
        "palette.png": (Image.fromarray(pixels(53)).quantize(8), {}),
        "alpha.png": (Image.fromarray(pixels(54)).convert("RGBA"), {}),
        "bit.png": (grey.convert("1"), {}),
        "deep.png": (Image.fromarray(pixels(55)[:, :, 0].astype(np.uint16) * 257), {}),
        "moving.gif": (Image.fromarray(pixels(56)), {"save_all": True, "append_images": [Image.fromarray(pixels(57))]}),
    }
    for number, (name, (picture, options)) in enumerate(kinds.items(), start=100):
        picture.save(images / name, **options)
        content["images"].append({"id": number, "file_name": name, "width": 64, "height": 48})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(58, 48, 64)).save(images / "turned.jpg", exif=exif)
    content["images"].append({"id": 200, "file_name": "turned.jpg", "width": 64, "height": 48})
    Image.fromarray(pixels(59)).save(images / "jpeg.png", "JPEG")
    content["images"].append({"id": 201, "file_name": "jpeg.png", "width": 64, "height": 48})
    spoil(coco, **content)
    coco.works()
    kinds = ["CMYK", "grey", "palette", "alpha", "1-bit", "16-bit", "animated", "EXIF-rotated", "wrong extension"]
    counted = coco.figures()["read_as_rgb"]
    assert {kind: counted[kind] for kind in kinds} == dict.fromkeys(kinds, 1) | {"palette": 2}
    assert coco.figures()["skipped_pictures"] == []


def test_unusable_boxes_are_skipped_and_listed(coco):
    with_boxes(
        coco, [5, 5, 0, 9], [5, 5, 9, 0], [5, 5, -3, 9], [NAN, 5, 9, 9], [5, 5, INF, 9], [70, 5, 9, 9], [-20, 5, 20, 9]
    )
    coco.works()
    skipped = coco.figures()["skipped_boxes"]
    assert [one["reason"].partition(") ")[2] for one in skipped] == [
        *["has no width or height"] * 3,
        *["is not finite"] * 2,
        *["lies outside the 64 x 48 picture"] * 2,
    ]
    assert {one["file"] for one in skipped} == {"data/raw/images/p000.png"}
    assert [row for row in coco.annotations() if row[0] == "p000.png"] == [("p000.png", "cat", [2.0, 3.0, 20.0, 27.0])]


def test_boxes_partly_outside_are_clipped_and_counted(coco):
    with_boxes(coco, [-5, 40, 20, 30])
    coco.works()
    (clipped,) = coco.figures()["clipped_boxes"]
    assert clipped["reason"] == "cat (-5, 40, 15, 70) is clipped to the 64 x 48 picture"
    assert ("p000.png", "cat", [0.0, 40.0, 15.0, 8.0]) in coco.annotations()


def test_a_box_up_to_the_edge_is_valid(coco):
    with_boxes(coco, [40, 20, 24, 28])
    coco.works()
    assert coco.figures()["skipped_boxes"] == coco.figures()["clipped_boxes"] == []
    assert ("p000.png", "cat", [40.0, 20.0, 24.0, 28.0]) in coco.annotations()


def annotation(**values) -> dict:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]} | values


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"annotations": [annotation(category_id=7)]}, "has category 7"),
        (
            {"images": [{"id": 1, "file_name": "p000.png"}, {"id": 1, "file_name": "p001.png"}]},
            "image id 1 is there twice",
        ),
        ({"annotations": [annotation(), annotation()]}, "annotation id 1 is there twice"),
        ({"annotations": [annotation(id=0)]}, "annotation id 0"),
        ({"annotations": [annotation(image_id=99)]}, "is for image 99"),
        ({"images": [{"id": 1, "file_name": "../p000.png"}]}, "stay inside the folder"),
        ({"images": [{"id": 1, "file_name": "/etc/passwd"}]}, "must be relative"),
        (
            {"images": [{"id": 1, "file_name": "p000.png"}, {"id": 2, "file_name": "p000.png"}], "annotations": []},
            "twice",
        ),
        ({"annotations": [annotation(bbox="big")]}, "has bbox 'big'"),
    ],
)
def test_contradictions_are_errors_and_leave_everything(coco, sections, said):
    coco.works()
    spoil(coco, **sections)
    line = coco.fails()
    assert "data/raw/annotations.json: " in line and said in line


@pytest.mark.parametrize("text", ["{", "", "[[[", "\x00"])
def test_broken_json_is_an_error(coco, text):
    coco.works()
    (coco.raw / "annotations.json").write_text(text)
    assert "data/raw/annotations.json: broken JSON" in coco.fails()


def test_broken_xml_and_its_contradictions_are_errors(workspace):
    write_voc(workspace.raw, some_objects())
    workspace.works()
    xml = workspace.raw / "annotations/p000.xml"
    for text, said in (
        ("<annotation><object>", "broken XML"),
        (voc_xml("p000.png", [("cat", (1, 2, "wide", 4))]), "object 1 has bndbox"),
    ):
        xml.write_text(text)
        assert f"data/raw/annotations/p000.xml: {said}" in workspace.fails()


def test_ids_with_gaps_are_kept_and_what_is_missing_is_filled(coco):
    content = coco_content(some_objects())
    for row in content["categories"]:
        row["id"] *= 45
    for row in content["annotations"]:
        row |= {"id": row["id"] * 7, "category_id": row["category_id"] * 45}
    spoil(coco, **content)
    coco.works()
    assert coco.figures()["category_ids"] == {"cat": 45, "dog": 90}
    for split in coco.prepared().values():
        assert [category["id"] for category in split["categories"]] == [45, 90]
        assert all(row["area"] == row["bbox"][2] * row["bbox"][3] for row in split["annotations"])
        assert all(row["iscrowd"] == 0 for row in split["annotations"])


def test_a_picture_without_objects_is_kept(coco):
    coco.works()
    assert "p012.png" in set.union(*coco.names().values())
    assert sum(split["negatives"] for split in coco.figures()["splits"].values()) == 1


def test_a_class_without_objects_in_a_split_is_said(workspace):
    """One bird in train alone, by the official splits."""
    official(workspace)
    path = workspace.raw / "instances_train.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 2, "name": "bird"})
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 2, "bbox": [5, 5, 35, 35]})
    path.write_text(json.dumps(content))
    out = workspace.works()
    assert "warning: no bird in val: left out of its figures" in out
    assert "warning: no bird in test: left out of its figures" in out
    assert workspace.figures()["splits"]["test"]["boxes"] == {"cat": 2, "bird": 0}


def official(workspace: Workspace) -> dict[str, Path]:
    """Six pictures in three official splits."""
    files = {}
    for number, split in enumerate(("train", "train", "val", "val", "test", "test")):
        folder = workspace.raw / split
        folder.mkdir(exist_ok=True)
        name = f"{split}{number}.png"
        Image.fromarray(pixels(number)).resize((320, 240), Image.Resampling.BICUBIC).save(folder / name)
        files[name] = folder / name
    for split in ("train", "val", "test"):
        content = coco_content({n: [("cat", (1, 2, 30, 40))] for n in files if n.startswith(split)})
        for image in content["images"]:
            image |= {"width": 320, "height": 240}
        (workspace.raw / f"instances_{split}.json").write_text(json.dumps(content))
    return files


def test_official_splits_are_honoured(workspace):
    official(workspace)
    workspace.works()
    assert workspace.names() == {
        s: {f"{s}{n}.png" for n in two}
        for s, two in zip(("train", "val", "test"), ((0, 1), (2, 3), (4, 5)), strict=True)
    }


def test_the_same_bytes_in_two_official_splits_are_an_error_with_the_pair(workspace):
    files = official(workspace)
    workspace.works()
    shutil.copy(files["train0.png"], files["test4.png"])
    said = workspace.fails()
    assert "1 pictures are in two official splits" in said
    assert "data/raw/train/train0.png (train)" in said and "data/raw/test/test4.png (test)" in said


def test_the_same_look_in_two_official_splits_is_a_warning_with_the_pair(workspace):
    files = official(workspace)
    Image.open(files["train0.png"]).convert("L").convert("RGB").save(files["test4.png"])
    said = workspace.works()
    assert "warning: 1 pair looks the same in different splits" in said
    assert "train0.png (train)" in said and "test4.png (test)" in said
    assert workspace.figures()["near_duplicates"] == [
        {"data/raw/test/test4.png": "test", "data/raw/train/train0.png": "train"}
    ]


def test_copies_and_look_alikes_share_a_split_of_ours(workspace):
    """The last ten of 60 pictures are the first ten again: five the same files, five slightly brighter."""
    objects = {f"p{n:03}.png": [("cat", (1, 2, 30, 40))] for n in range(60)}
    write_coco(workspace.raw, objects)
    for number in range(60):
        smooth = Image.fromarray(pixels(number % 50)).resize((64, 48), Image.Resampling.BICUBIC)
        brighter = smooth.point(lambda value, by=6 * (number >= 55): min(255, value + by))
        brighter.save(workspace.raw / "images" / f"p{number:03}.png")

    def divided() -> list[int]:
        split_of = {name: split for split, names in workspace.names().items() for name in names}
        return [n for n in range(10) if split_of[f"p{n:03}.png"] != split_of[f"p{n + 50:03}.png"]]

    said = workspace.works()
    assert "5 pictures lie there under several names; 5 groups of others look the same: each shares a split" in said
    assert divided() == []
    figures = workspace.figures()
    assert (len(figures["same_bytes"]), len(figures["near_duplicates"])) == (5, 5)
    workspace.change(near_duplicates="apart")
    workspace.works()
    assert divided() and min(divided()) >= 5


def test_names_with_any_characters_work(workspace):
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
    workspace.works()
    stored = {image["file_name"] for split in workspace.prepared().values() for image in split["images"]}
    assert stored == {f"data/raw/images/{name}" for name in names}
    assert set(workspace.read("data/prepared/index.json")) == stored


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_name_that_is_no_utf8_is_skipped(workspace):
    write_yolo(workspace.raw, some_objects())
    shutil.copy(workspace.raw / "images/p000.png", os.fsencode(workspace.raw) + b"/images/\xff.png")
    workspace.works()
    assert workspace.figures()["skipped_pictures"][0]["reason"] == "has a name that is no UTF-8; rename it"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vall_share": 0.1}, "prepare.vall_share is no known key; did you mean val_share?"),
        ({"val_share": "much"}, "prepare.val_share is 'much'"),
        ({"val_share": 0.9}, "train needs a share too"),
        ({"tile_size": -1}, "prepare.tile_size is -1"),
        ({"format": "yolov8"}, "prepare.format is 'yolov8'"),
        ({"group_pattern": "("}, "is no regular expression"),
        ({"group_pattern": "a+"}, "has no (group)"),
        ({"group_column": "patient"}, "no picture has 'patient'"),
        ({"format": "voc"}, "holds no Pascal VOC"),
    ],
)
def test_settings_that_cannot_be_are_errors(coco, change, said):
    coco.works()
    coco.change(**change)
    assert said in coco.fails()


@pytest.mark.parametrize("text", ["prepare: [", "prepare: 3", "", "- 1", "a: 2020-13-45", "a: " + "9" * 5000, "\x00"])
def test_params_that_are_no_params_are_errors(coco, text):
    coco.works()
    (coco.folder / "params.yaml").write_text(text)
    assert "params.yaml" in coco.fails()


def test_params_of_another_encoding_are_an_error(coco):
    (coco.folder / "params.yaml").write_bytes(b"# \xff\xfe\n")
    assert "params.yaml" in coco.fails()


def test_without_data_it_says_what_to_run(workspace):
    shutil.rmtree(workspace.raw)
    assert "run the download stage first" in workspace.fails()
    workspace.raw.mkdir()
    assert "check download.* and prepare.format" in workspace.fails()


def test_splits_without_objects_are_an_error(workspace):
    write_coco(workspace.raw, some_objects(0))
    assert "gets" in (said := workspace.fails()) and "no object; add data" in said


def test_large_pictures_are_tiled_and_the_tiles_stored(workspace):
    workspace.change(tile_size=200)
    large = pixels(0, 1000, 100)
    Image.fromarray(large).save(workspace.raw / "a.png")
    boxes = [("cat", (x, 20, x + 30, 60)) for x in range(0, 960, 40)]
    (workspace.raw / "a.xml").write_text(voc_xml("a.png", boxes, (1000, 100)))
    workspace.works()
    assert workspace.names()["val"] == {"a_val_00650_00000.png"}
    assert workspace.names()["test"] == {"a_test_00800_00000.png"}
    tile = np.asarray(Image.open(workspace.folder / "data/prepared/tiles/a_val_00650_00000.png"))
    np.testing.assert_array_equal(tile, large[:, 650:800])


def test_groups_stay_in_one_split(workspace):
    objects = {f"v{n % 10}_f{n}.png": [("cat", (1, 2, 30, 40))] for n in range(60)}
    write_csv(workspace.raw, objects)
    workspace.change(group_pattern=r"/(v\d+)_")
    workspace.works()
    videos = [{name.partition("_")[0] for name in names} for names in workspace.names().values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 10


def test_adding_pictures_moves_none_from_train_to_test(workspace):
    objects = some_objects(40)
    write_csv(workspace.raw, objects)
    workspace.works()
    before = workspace.names()
    shutil.rmtree(workspace.raw)
    write_csv(workspace.raw, some_objects(70))
    workspace.works()
    after = workspace.names()
    assert not before["train"] & (after["val"] | after["test"])
    assert not before["val"] & after["test"]


@pytest.mark.parametrize("write", [write_voc, write_yolo, write_csv, write_metadata], ids=lambda one: one.__name__)
def test_every_format_gives_the_same_prepared_files(workspace, tmp_path, write):
    """Byte for byte what COCO gives."""
    objects = some_objects(20)
    write_coco(workspace.raw, objects)
    workspace.works()
    prepared = {path: sha for path, sha in workspace.tree().items() if path.startswith("data/prepared")}
    shutil.rmtree(workspace.raw)
    write(workspace.raw, objects)
    workspace.works()
    assert {path: sha for path, sha in workspace.tree().items() if path.startswith("data/prepared")} == prepared
    assert len(prepared) == 6  # two folders, and four files


def test_anchors_that_reach_few_objects_are_a_warning_with_the_mend(workspace):
    """Boxes of 4 px in pictures 640 px wide, which the default's 32 px anchors cannot reach."""
    objects = {f"p{n:03}.png": [("dot", (100 + n, 100, 104 + n, 104))] for n in range(20)}
    write_csv(workspace.raw, objects)
    for number, name in enumerate(objects):
        Image.fromarray(pixels(number, 640, 480)).save(workspace.raw / "images" / name)
    said = workspace.works()
    assert "warning: anchors reach few objects with IoU 0.5 at the training size: 0% of" in said
    assert "dot (median 4 x 4 px)" in said and "% of them, not 0% (`retinanet fit-anchors --write`)" in said
    coverage = workspace.figures()["anchor_coverage"]
    assert coverage["classes"]["dot"]["IoU 0.5"] == 0
    assert coverage["proposal"]["anchors"]["sizes"][0] < 10
    assert "To look at before training" in (workspace.folder / "reports/data/index.html").read_text()
    workspace.change(min_coverage=0.0)
    assert "warning: anchors" not in workspace.works()


def test_a_failure_at_the_very_end_leaves_everything(coco, monkeypatch):
    coco.works()
    before = coco.tree()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stages.prepare.write_page", full)
    with pytest.raises(OSError, match="No space"):
        coco.prepare()
    assert coco.tree() == before


@pytest.mark.skipif(not BCCD.exists(), reason=f"{BCCD} is not there")
def test_bccd(workspace):
    """As counted by hand: 2 boxes without area, 545 up to the edge, one pair of photos of the same cells."""
    with tarfile.open(BCCD) as archive:
        archive.extractall(workspace.raw, filter="data")
    workspace.params["model"] |= {"short_side": 352, "long_side": 480}
    workspace.change(max_skipped=0.0)
    out = workspace.works()
    figures = workspace.figures()
    assert figures["splits"] == {
        "train": {"pictures": 205, "negatives": 0, "boxes": {"Platelets": 209, "RBC": 2382 - 1, "WBC": 214}},
        "val": {"pictures": 87, "negatives": 0, "boxes": {"Platelets": 83, "RBC": 968 - 1, "WBC": 87}},
        "test": {"pictures": 72, "negatives": 0, "boxes": {"Platelets": 69, "RBC": 805, "WBC": 71}},
    }
    assert [(Path(one["file"]).stem, one["reason"]) for one in figures["skipped_boxes"]] == [
        ("BloodImage_00338", "RBC (504, 337, 504, 337) has no width or height"),
        ("BloodImage_00343", "RBC (181, 329, 181, 329) has no width or height"),
    ]
    assert figures["clipped_boxes"] == []
    boxes = [box for _, _, box in workspace.annotations()]
    assert sum(x + width == 640 or y + height == 480 for x, y, width, height in boxes) == 545
    (pair,) = figures["near_duplicates"]
    assert {Path(file).stem: split for file, split in pair.items()} == {
        "BloodImage_00037": "val",
        "BloodImage_00038": "train",
    }
    assert "warning: 1 pair looks the same in different splits" in out

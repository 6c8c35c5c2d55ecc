"""Faults in the data and settings: the files before and after the prepare stage."""

import shutil

import numpy as np
import pytest
from PIL import Image
from support.prepare_workspace import (
    add_boxes,
    coco_content,
    pixels,
    replace_sections,
    sample_objects,
    voc_xml,
    write_voc,
)

NAN, INF = float("nan"), float("inf")


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
def test_an_unusable_image_is_skipped_and_reported(coco, damage, reason):
    coco.change(max_pixels=10_000)
    damage(coco.raw / "images/p003.png")
    coco.succeeds()
    (skipped,) = coco.statistics()["skipped_images"]
    assert skipped["file"].endswith("p003.png") and reason in skipped["reason"]
    assert "p003.png" not in set.union(*coco.names().values())
    assert len(set.union(*coco.names().values())) == 12


def test_too_many_unusable_images_fail(coco):
    coco.succeeds()
    coco.change(max_skipped=0.05)
    (coco.raw / "images/p003.png").write_bytes(b"")
    message = coco.fails()
    assert "1 of 13 images cannot be used, more than prepare.max_skipped = 0.05" in message and "has 0 bytes" in message


def test_unusual_images_are_read_and_counted(coco):
    images = coco.raw / "images"
    gray = Image.fromarray(pixels(51)[:, :, 0])
    content = coco_content(sample_objects())
    kinds = {
        "cmyk.tif": (Image.fromarray(pixels(52)).convert("CMYK"), {}),
        "gray.png": (gray, {}),
        "palette.png": (Image.fromarray(pixels(53)).quantize(8), {}),
        "alpha.png": (Image.fromarray(pixels(54)).convert("RGBA"), {}),
        "bit.png": (gray.convert("1"), {}),
        "deep.png": (Image.fromarray(pixels(55)[:, :, 0].astype(np.uint16) * 257), {}),
        "moving.gif": (Image.fromarray(pixels(56)), {"save_all": True, "append_images": [Image.fromarray(pixels(57))]}),
    }
    for number, (name, (image, options)) in enumerate(kinds.items(), start=100):
        image.save(images / name, **options)
        content["images"].append({"id": number, "file_name": name, "width": 64, "height": 48})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(58, 48, 64)).save(images / "turned.jpg", exif=exif)
    content["images"].append({"id": 200, "file_name": "turned.jpg", "width": 64, "height": 48})
    Image.fromarray(pixels(59)).save(images / "jpeg.png", "JPEG")
    content["images"].append({"id": 201, "file_name": "jpeg.png", "width": 64, "height": 48})
    replace_sections(coco, **content)
    coco.succeeds()
    kinds = ["CMYK", "gray", "palette", "alpha", "1-bit", "16-bit", "animated", "EXIF-rotated", "wrong extension"]
    counted = coco.statistics()["read_as_rgb"]
    assert {kind: counted[kind] for kind in kinds} == dict.fromkeys(kinds, 1) | {"palette": 2}
    assert coco.statistics()["skipped_images"] == []


def test_unusable_boxes_are_skipped_and_reported(coco):
    add_boxes(
        coco, [5, 5, 0, 9], [5, 5, 9, 0], [5, 5, -3, 9], [NAN, 5, 9, 9], [5, 5, INF, 9], [70, 5, 9, 9], [-20, 5, 20, 9]
    )
    coco.succeeds()
    skipped = coco.statistics()["skipped_boxes"]
    assert [one["reason"].partition(") ")[2] for one in skipped] == [
        *["has no width or height"] * 3,
        *["is not finite"] * 2,
        *["lies outside the 64 x 48 image"] * 2,
    ]
    assert {one["file"] for one in skipped} == {"data/raw/images/p000.png"}
    assert [row for row in coco.annotations() if row[0] == "p000.png"] == [("p000.png", "cat", [2.0, 3.0, 20.0, 27.0])]


def test_boxes_partly_outside_are_clipped_and_reported(coco):
    add_boxes(coco, [-5, 40, 20, 30])
    coco.succeeds()
    (clipped,) = coco.statistics()["clipped_boxes"]
    assert clipped["reason"] == "cat (-5, 40, 15, 70) is clipped to the 64 x 48 image"
    assert ("p000.png", "cat", [0.0, 40.0, 15.0, 8.0]) in coco.annotations()


def test_a_box_up_to_the_edge_is_valid(coco):
    add_boxes(coco, [40, 20, 24, 28])
    coco.succeeds()
    assert coco.statistics()["skipped_boxes"] == coco.statistics()["clipped_boxes"] == []
    assert ("p000.png", "cat", [40.0, 20.0, 24.0, 28.0]) in coco.annotations()


def annotation(**values) -> dict:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]} | values


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"annotations": [annotation(category_id=7)]}, "has category 7"),
        (
            {"images": [{"id": 1, "file_name": "p000.png"}, {"id": 1, "file_name": "p001.png"}]},
            "image id 1 occurs twice",
        ),
        ({"annotations": [annotation(), annotation()]}, "annotation id 1 occurs twice"),
        ({"annotations": [annotation(image_id=99)]}, "is for image 99"),
        (
            {"images": [{"id": n, "file_name": f"/{n}/p000.png"} for n in (1, 2)], "annotations": []},
            "could both be data/raw/images/p000.png",
        ),
        (
            {"images": [{"id": 1, "file_name": "p000.png"}, {"id": 2, "file_name": "p000.png"}], "annotations": []},
            "twice",
        ),
        ({"annotations": [annotation(bbox="big")]}, "has bbox 'big'"),
    ],
)
def test_contradictory_annotations_fail_and_change_nothing(coco, sections, message):
    coco.succeeds()
    replace_sections(coco, **sections)
    line = coco.fails()
    assert "data/raw/annotations.json: " in line and message in line


@pytest.mark.parametrize("text", ["{", "", "[[[", "\x00"])
def test_broken_json_fails(coco, text):
    coco.succeeds()
    (coco.raw / "annotations.json").write_text(text)
    assert "data/raw/annotations.json: broken JSON" in coco.fails()


def test_broken_and_invalid_xml_fail(workspace):
    write_voc(workspace.raw, sample_objects())
    workspace.succeeds()
    xml = workspace.raw / "annotations/p000.xml"
    for text, message in (
        ("<annotation><object>", "broken XML"),
        (voc_xml("p000.png", [("cat", (1, 2, "wide", 4))]), "object 1 has bndbox"),
    ):
        xml.write_text(text)
        assert f"data/raw/annotations/p000.xml: {message}" in workspace.fails()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vall_share": 0.1}, "prepare.vall_share is not a known key; did you mean val_share?"),
        ({"val_share": "much"}, "prepare.val_share is 'much'"),
        ({"val_share": 0.9}, "it must be below 1"),
        ({"tile_size": -1}, "prepare.tile_size: is -1; it must be auto, or an integer of at least 0"),
        (
            {"format": "yolov8"},
            "prepare.format is 'yolov8'; it must be one of auto, voc, metadata, coco, yolo, csv, cvat",
        ),
        ({"group_pattern": "("}, "is not a regular expression"),
        ({"group_pattern": "a+"}, "has no (group)"),
        ({"group_column": "patient"}, "no image has 'patient'"),
        ({"format": "voc"}, "data/raw: no annotations found; expected Pascal VOC"),
    ],
)
def test_invalid_settings_fail(coco, change, message):
    coco.succeeds()
    coco.change(**change)
    assert message in coco.fails()


@pytest.mark.parametrize("text", ["prepare: [", "prepare: 3", "", "- 1", "a: 2020-13-45", "a: " + "9" * 5000, "\x00"])
def test_an_invalid_params_file_fails(coco, text):
    coco.succeeds()
    (coco.folder / "params.yaml").write_text(text)
    assert "params.yaml" in coco.fails()


def test_a_params_file_that_is_not_utf8_fails(coco):
    (coco.folder / "params.yaml").write_bytes(b"# \xff\xfe\n")
    assert "params.yaml" in coco.fails()


def test_missing_data_fails_with_a_hint(workspace):
    shutil.rmtree(workspace.raw)
    assert "run the download stage first" in workspace.fails()
    workspace.raw.mkdir()
    assert "check download.* and prepare.format" in workspace.fails()


def test_a_failure_at_the_end_changes_nothing(coco, monkeypatch):
    coco.succeeds()

    def full(*_):
        raise OSError(28, "No space left on device", "reports/prepare/findings.json")

    monkeypatch.setattr("stages.prepare.write_findings", full)
    assert "reports/prepare/findings.json could not be written: No space left on device" in coco.fails()

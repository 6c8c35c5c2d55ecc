"""The statistics and the page of the data report."""

import json
import re

import pytest
from PIL import Image
from support.prepare_workspace import Workspace, coco_content, pixels, write_coco


@pytest.fixture
def workspace(tmp_path, monkeypatch, capsys) -> Workspace:
    return Workspace(tmp_path, monkeypatch, capsys)


def page(workspace: Workspace) -> str:
    workspace.report()
    return (workspace.folder / "reports/data/index.html").read_text(encoding="utf-8")


def objects(count: int = 20, names=("cat",)) -> dict:
    return {f"p{n:03}.png": [(name, (2, 3, 30, 40)) for name in names] for n in range(count)}


def test_page_is_self_contained(workspace):
    write_coco(workspace.raw, objects())
    workspace.succeeds()
    text = page(workspace)
    assert set(re.findall(r'(?:src|href)="([^":]*)', text)) == {"data"}
    assert text.count("data:image/jpeg") == len(list((workspace.folder / "reports/data/images").iterdir()))


def test_page_escapes_names_from_the_data(workspace):
    write_coco(workspace.raw, {f"<b>{n}.png": [("<script>alert(1)</script>", (2, 3, 30, 40))] for n in range(20)})
    workspace.succeeds()
    text = page(workspace)
    assert "<script>" not in text and "<b>0.png" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_page_shows_at_most_24_findings_of_a_kind(workspace):
    write_coco(workspace.raw, objects(40))
    content = json.loads((workspace.raw / "annotations.json").read_text())
    for number in range(30):
        row = {"id": 500 + number, "image_id": number + 1, "category_id": 1}
        content["annotations"] += [row | {"bbox": [5, 5, 0, 5]}, row | {"id": 900 + number, "bbox": [-5, 5, 20, 5]}]
    (workspace.raw / "annotations.json").write_text(json.dumps(content))
    (workspace.raw / "images/p039.png").write_bytes(b"")
    workspace.succeeds()
    text = page(workspace)
    assert "Skipped boxes: 30" in text and "Clipped boxes: 30" in text and "Skipped images: 1" in text
    assert text.count("The first 24; all are in") == 2
    assert text.count("has no width or height") == 24 and text.count("not readable") == 1
    assert len(workspace.statistics()["skipped_boxes"]) == 30


def test_page_lists_annotations_that_look_like_mistakes(workspace):
    rows = objects(40, ("cat", "cat", "dog")) | {"empty.png": []}  # three boxes at one place
    write_coco(workspace.raw, rows)
    out = workspace.succeeds()
    assert "40 equal boxes counted once" in out and "40 annotations look like mistakes" in out
    text = page(workspace)
    assert "Equal boxes: 40" in text and "cat (2, 3, 30, 40) occurs more than once; it counts once" in text
    assert "Contradicting boxes: 40" in text and "is cat and dog" in text


def test_statistics_contain_category_ids_and_renamed_classes(workspace):
    write_coco(workspace.raw, objects(20, ("cat", "dog")))
    workspace.change(rename_classes={"dog": "pet", "cow": "pet"})
    workspace.succeeds()
    statistics = workspace.statistics()
    assert statistics["category_ids"] == {"cat": 1, "pet": 2}
    assert statistics["renamed_classes"] == {"dog": "pet"}
    assert statistics["remarks"] == ["prepare.rename_classes: there is no class cow"]
    assert "class dog renamed to pet" in page(workspace)


def test_page_of_80_classes_names_them_all(workspace):
    names = [f"class {number:02}" for number in range(80)]
    write_coco(
        workspace.raw, {f"p{n:03}.png": [(names[(n + k) % 80], (2, 3, 30, 40)) for k in range(9)] for n in range(80)}
    )
    out = workspace.succeeds()
    assert all(f">{name}<" in page(workspace) for name in names)
    assert max(len(line) for line in out.splitlines()) < 1500


def test_page_shows_tiles_of_large_images(workspace):
    workspace.change(tile_size=100)
    large = objects(1) | objects(0)
    write_coco(workspace.raw, large)
    Image.fromarray(pixels(0, 800, 90)).save(workspace.raw / "images/p000.png")
    content = coco_content({"p000.png": [("cat", (x, 10, x + 40, 60)) for x in range(0, 760, 50)]})
    content["images"][0] |= {"width": 800, "height": 90}
    (workspace.raw / "annotations.json").write_text(json.dumps(content))
    workspace.succeeds()
    assert "p000_train_00000_00000.png" in page(workspace)


def test_groups_across_official_splits_are_reported(workspace):
    for split in ("train", "val", "test"):
        write_coco(workspace.raw / split, {f"{split}{n}_s1.png": [("cat", (2, 3, 30, 40))] for n in range(2)})
        for n in range(2):
            Image.fromarray(pixels(10 * len(split) + ord(split[0]) + n)).save(
                workspace.raw / split / f"images/{split}{n}_s1.png"
            )
    workspace.change(group_pattern=r"(s\d)")
    assert "the official splits divide 1 groups" in workspace.succeeds()

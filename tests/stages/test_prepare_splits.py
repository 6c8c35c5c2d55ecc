"""The splits that the prepare stage makes."""

import json
import shutil
from pathlib import Path

from PIL import Image
from support.prepare_workspace import (
    Workspace,
    coco_content,
    pixels,
    sample_objects,
    write_coco,
    write_csv,
)


def official(workspace: Workspace) -> dict[str, Path]:
    """Six images in three official splits."""
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


def test_official_splits_are_kept(workspace):
    official(workspace)
    workspace.succeeds()
    assert workspace.names() == {
        s: {f"{s}{n}.png" for n in two}
        for s, two in zip(("train", "val", "test"), ((0, 1), (2, 3), (4, 5)), strict=True)
    }


def test_the_same_bytes_in_two_official_splits_fail(workspace):
    files = official(workspace)
    workspace.succeeds()
    shutil.copy(files["train0.png"], files["test4.png"])
    error = workspace.fails()
    assert "1 images are in two official splits" in error
    assert "data/raw/train/train0.png (train)" in error and "data/raw/test/test4.png (test)" in error


def test_near_duplicates_in_two_official_splits_are_a_warning(workspace):
    files = official(workspace)
    Image.open(files["train0.png"]).convert("L").convert("RGB").save(files["test4.png"])
    out = workspace.succeeds()
    assert "warning: 1 pair of images looks the same but is in different splits" in out
    assert "train0.png (train)" in out and "test4.png (test)" in out
    assert workspace.statistics()["near_duplicates"] == [
        {"data/raw/test/test4.png": "test", "data/raw/train/train0.png": "train"}
    ]


def test_duplicates_and_near_duplicates_share_a_split(workspace):
    """The last ten of 60 images are copies of the first ten: five with the same bytes, five slightly brighter."""
    objects = {f"p{n:03}.png": [("cat", (1, 2, 30, 40))] for n in range(60)}
    write_coco(workspace.raw, objects)
    for number in range(60):
        smooth = Image.fromarray(pixels(number % 50)).resize((64, 48), Image.Resampling.BICUBIC)
        brighter = smooth.point(lambda value, by=6 * (number >= 55): min(255, value + by))
        brighter.save(workspace.raw / "images" / f"p{number:03}.png")

    def divided() -> list[int]:
        split_of = {name: split for split, names in workspace.names().items() for name in names}
        return [n for n in range(10) if split_of[f"p{n:03}.png"] != split_of[f"p{n + 50:03}.png"]]

    out = workspace.succeeds()
    assert "5 images have several files and 5 groups of images look the same; each of them shares a split" in out
    assert divided() == []
    statistics = workspace.statistics()
    assert (len(statistics["same_bytes"]), len(statistics["near_duplicates"])) == (5, 5)
    workspace.change(near_duplicates="apart")
    workspace.succeeds()
    assert divided() and min(divided()) >= 5


def test_a_class_without_objects_in_a_split_is_a_warning(workspace):
    """The only bird is in the official train split."""
    official(workspace)
    path = workspace.raw / "instances_train.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 2, "name": "bird"})
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 2, "bbox": [5, 5, 35, 35]})
    path.write_text(json.dumps(content))
    out = workspace.succeeds()
    assert "warning: val has no object of these classes: bird; they get no metric" in out
    assert "warning: test has no object of these classes: bird; they get no metric" in out
    assert workspace.statistics()["splits"]["test"]["boxes"] == {"cat": 2, "bird": 0}


def test_splits_without_objects_fail(workspace):
    write_coco(workspace.raw, sample_objects(0))
    assert "images and no objects; add data" in workspace.fails()


def test_groups_stay_in_one_split(workspace):
    objects = {f"v{n % 10}_f{n}.png": [("cat", (1, 2, 30, 40))] for n in range(60)}
    write_csv(workspace.raw, objects)
    workspace.change(group_pattern=r"/(v\d+)_")
    workspace.succeeds()
    videos = [{name.partition("_")[0] for name in names} for names in workspace.names().values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 10


def test_adding_images_moves_none_from_train_to_test(workspace):
    objects = sample_objects(40)
    write_csv(workspace.raw, objects)
    workspace.succeeds()
    before = workspace.names()
    shutil.rmtree(workspace.raw)
    write_csv(workspace.raw, sample_objects(70))
    workspace.succeeds()
    after = workspace.names()
    assert not before["train"] & (after["val"] | after["test"])
    assert not before["val"] & after["test"]

"""Which image comes into which split, through the stage itself."""

import json
import shutil
from pathlib import Path

from PIL import Image
from support.prepare_workspace import (
    Workspace,
    coco_content,
    pixels,
    some_objects,
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
    assert "1 images are in two official splits" in said
    assert "data/raw/train/train0.png (train)" in said and "data/raw/test/test4.png (test)" in said


def test_the_same_look_in_two_official_splits_is_a_warning_with_the_pair(workspace):
    files = official(workspace)
    Image.open(files["train0.png"]).convert("L").convert("RGB").save(files["test4.png"])
    said = workspace.works()
    assert "warning: 1 pair of images looks the same but is in different splits" in said
    assert "train0.png (train)" in said and "test4.png (test)" in said
    assert workspace.statistics()["near_duplicates"] == [
        {"data/raw/test/test4.png": "test", "data/raw/train/train0.png": "train"}
    ]


def test_copies_and_look_alikes_share_a_split_of_ours(workspace):
    """The last ten of 60 images are the first ten again: five the same files, five slightly brighter."""
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
    assert "images under several names: 5; groups of others that look the same: 5; each group shares a split" in said
    assert divided() == []
    statistics = workspace.statistics()
    assert (len(statistics["same_bytes"]), len(statistics["near_duplicates"])) == (5, 5)
    workspace.change(near_duplicates="apart")
    workspace.works()
    assert divided() and min(divided()) >= 5


def test_a_class_without_objects_in_a_split_is_said(workspace):
    """One bird in train alone, by the official splits."""
    official(workspace)
    path = workspace.raw / "instances_train.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 2, "name": "bird"})
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 2, "bbox": [5, 5, 35, 35]})
    path.write_text(json.dumps(content))
    out = workspace.works()
    assert "warning: val has no object of these classes: bird; they get no metric" in out
    assert "warning: test has no object of these classes: bird; they get no metric" in out
    assert workspace.statistics()["splits"]["test"]["boxes"] == {"cat": 2, "bird": 0}


def test_splits_without_objects_are_an_error(workspace):
    write_coco(workspace.raw, some_objects(0))
    assert "gets" in (said := workspace.fails()) and "no object; add data" in said


def test_groups_stay_in_one_split(workspace):
    objects = {f"v{n % 10}_f{n}.png": [("cat", (1, 2, 30, 40))] for n in range(60)}
    write_csv(workspace.raw, objects)
    workspace.change(group_pattern=r"/(v\d+)_")
    workspace.works()
    videos = [{name.partition("_")[0] for name in names} for names in workspace.names().values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 10


def test_adding_images_moves_none_from_train_to_test(workspace):
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

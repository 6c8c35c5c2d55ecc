"""Random damage: prepare uses or reports each image, and accepts or names each file, without a traceback.

The damage depends only on the seeds; `pytest -m slow` tests more of it.
"""

import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.damage import BAD_VALUES, damaged, with_bad_value
from support.prepare_workspace import (
    Workspace,
    pixels,
    sample_objects,
    write_coco,
    write_csv,
    write_metadata,
    write_voc,
    write_yolo,
)

# Pillow warns about damaged metadata of intact images.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

FORMATS = {
    "JPEG": "RGB",
    "PNG": "P",
    "GIF": "P",
    "TIFF": "RGB",
    "BMP": "L",
    "WEBP": "RGB",
    "PPM": "RGB",
    "JPEG2000": "L",
}
# The writer of each format, and the file that is damaged.
ANNOTATIONS = {
    "voc": (write_voc, "annotations/p001.xml"),
    "coco": (write_coco, "annotations.json"),
    "yolo": (write_yolo, "labels/p001.txt"),
    "yolo names": (write_yolo, "data.yaml"),
    "csv": (write_csv, "boxes.csv"),
    "metadata": (write_metadata, "images/metadata.jsonl"),
}


@pytest.fixture
def workspace(tmp_path, monkeypatch, capsys) -> Workspace:
    return Workspace(tmp_path, monkeypatch, capsys)


def mutated_images(count: int, workspace: Workspace) -> None:
    chance = random.Random(count)
    kinds = [list(FORMATS)[number % len(FORMATS)] for number in range(count)]
    names = [f"m{number:04}.{kind.lower()}" for number, kind in enumerate(kinds)]
    intact = sample_objects(12)
    write_csv(workspace.raw, intact)
    with open(workspace.raw / "boxes.csv", "a") as file:
        file.writelines(f"images/{name},2,3,30,40,cat\n" for name in names)
    for number, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        buffer = io.BytesIO()
        Image.fromarray(pixels(number, 40, 48)).convert(FORMATS[kind]).save(buffer, kind)
        (workspace.raw / "images" / name).write_bytes(damaged(buffer.getvalue(), chance))
    workspace.change(max_pixels=1_000_000)
    workspace.succeeds()
    kept = set.union(*workspace.names().values())
    skipped = {Path(finding["file"]).name for finding in workspace.statistics()["skipped_images"]}
    assert not kept & skipped
    assert kept | skipped == {*names, *intact}
    assert set(intact) <= kept
    assert len(skipped) > count / 5


def mutated_annotations(count: int, workspace: Workspace) -> None:
    chance = random.Random(count)
    outcomes = []
    for number in range(count):
        name = list(ANNOTATIONS)[number % len(ANNOTATIONS)]
        write, damaged_file = ANNOTATIONS[name]
        shutil.rmtree(workspace.raw)
        workspace.raw.mkdir()
        write(workspace.raw, sample_objects(5))
        path = workspace.raw / damaged_file
        content = path.read_bytes()
        if path.suffix in (".json", ".yaml") and chance.random() < 0.7:
            text = json.dumps(with_bad_value(yaml.safe_load(content), chance))
        elif path.suffix == ".jsonl" and chance.random() < 0.7:
            first, *others = content.decode().splitlines()
            text = "\n".join([json.dumps(with_bad_value(json.loads(first), chance)), *others])
        elif chance.random() < 0.5:
            words = content.decode().replace(",", " , ").replace("<", " <").replace(">", "> ").split(" ")
            words[chance.randrange(len(words))] = str(chance.choice(BAD_VALUES)).encode("ascii", "replace").decode()
            text = "".join(words) if path.suffix == ".xml" else " ".join(words).replace(" , ", ",")
        else:
            text = damaged(content, chance)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        outcomes.append(_succeeds_or_fails_cleanly(workspace))
    assert 0 < sum(outcomes) < count


def mutated_params(count: int, workspace: Workspace) -> None:
    write_csv(workspace.raw, sample_objects(5))
    chance = random.Random(count)
    path = workspace.folder / "params.yaml"
    sections = {key: workspace.params[key] for key in ("prepare", "model")}
    outcomes = []
    for _ in range(count):
        if chance.random() < 0.8:
            changed = with_bad_value(json.loads(json.dumps(sections)), chance)
            text = json.dumps(workspace.params | changed).encode()
        else:
            text = damaged(yaml.safe_dump(workspace.params).encode(), chance)
        path.write_bytes(text)
        outcomes.append(_succeeds_or_fails_cleanly(workspace))
    assert 0 <= sum(outcomes) < count


def _succeeds_or_fails_cleanly(workspace: Workspace) -> bool:
    """Run the stage; whether it succeeded. If not, it must print one line and write nothing."""
    before = workspace.tree()
    code, _, err = workspace.prepare()
    if code:
        assert code == 1
        lines = [line for line in err.splitlines() if "checking:" not in line]
        assert len(lines) == 1 and lines[0].startswith("error: "), err
        assert workspace.tree() == before
    else:
        assert {
            f"data/prepared/{name}.json" for name in ("train", "val", "test", "index", "decisions")
        } <= workspace.tree().keys()
    return not code


def test_some_mutated_images(workspace):
    mutated_images(64, workspace)


def test_some_mutated_annotations(workspace):
    mutated_annotations(24, workspace)


def test_some_mutated_params(workspace):
    mutated_params(16, workspace)


@pytest.mark.slow
def test_mutated_images(workspace):
    mutated_images(400, workspace)


@pytest.mark.slow
def test_mutated_annotations(workspace):
    mutated_annotations(150, workspace)


@pytest.mark.slow
def test_mutated_params(workspace):
    mutated_params(50, workspace)


def test_damage_depends_only_on_the_seed():
    content = np.arange(100, dtype=np.uint8).tobytes()
    assert damaged(content, random.Random(1)) == damaged(content, random.Random(1)) != content

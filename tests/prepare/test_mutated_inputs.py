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
from support.tool_layouts import LAYOUTS, write_layout

from retinanet.annotations.formats import read_source
from retinanet.errors import AnnotationError

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
BAD_VALUES = (
    None,
    True,
    [],
    {},
    "",
    "x",
    "\ud800",
    "../x",
    "\0",
    0,
    -1,
    1.5,
    1e308,
    10**400,
    float("nan"),
    float("inf"),
)
BAD_VALUES += ([[[]]], {"a": {"b": []}}, "9" * 5000, "a" * 5000, [float("nan")] * 4, "1e999", "<x>", "- : [")


@pytest.fixture
def workspace(tmp_path, monkeypatch, capsys) -> Workspace:
    return Workspace(tmp_path, monkeypatch, capsys)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Flip, truncate, overwrite, duplicate, remove or replace some of the bytes."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 30))):
        at = chance.randrange(len(data) or 1)
        length = chance.choice((1, 4, 64, 1000))
        match chance.randrange(6):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:]
            case 2:
                data[at : at + length] = bytes(len(data[at : at + length]))
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[at : at + length]
            case 5:
                data[at : at + length] = chance.randbytes(length)
    return bytes(data)


def with_bad_value(content: object, chance: random.Random) -> object:
    """Replace, remove or duplicate one value in a tree of lists and dicts."""
    entries = list(_entries(content))
    holder, key = chance.choice(entries)
    match chance.randrange(4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            holder[key] = chance.choice(BAD_VALUES)
    return content


def _entries(content: object):
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(pairs):
        yield content, key
        yield from _entries(value)


def mutated_exports(count: int, root: Path) -> None:
    """Damage one file of an export; it is read, or the error is one line."""
    chance = random.Random(count)
    read = 0
    for number in range(count):
        tool = list(LAYOUTS)[number % len(LAYOUTS)]
        folder = root / str(number)
        write_layout(folder, LAYOUTS[tool])
        path = folder / chance.choice(list(LAYOUTS[tool].files))
        if path.suffix == ".json" and chance.random() < 0.7:
            content = with_bad_value(json.loads(path.read_text(encoding="utf-8")), chance)
            path.write_text(json.dumps(content), encoding="utf-8")
        else:
            path.write_bytes(damaged(path.read_bytes(), chance))
        try:
            read_source(folder)
            read += 1
        except AnnotationError as error:
            assert "\n" not in str(error).strip(), tool
    assert 0 < read < count


def test_some_mutated_exports_of_tools(tmp_path):
    mutated_exports(2 * len(LAYOUTS), tmp_path)


@pytest.mark.slow
def test_mutated_exports_of_tools(tmp_path):
    mutated_exports(20 * len(LAYOUTS), tmp_path)


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

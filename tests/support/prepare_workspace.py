"""Small datasets in every format, and a folder in which the prepare stage runs on them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import data_report, prepare

ROOT = Path(__file__).parents[2]
Objects = dict[str, list[tuple[str, tuple[float, float, float, float]]]]  # by image name: class, xyxy


def pixels(seed: int, width: int = 64, height: int = 48) -> np.ndarray:
    """An image (H, W, 3) uint8 of 8 x 6 random colored squares."""
    squares = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST))


def sample_objects(count: int = 12) -> Objects:
    """`count` images of 64 x 48 with a cat each and a dog on every second, and one image without objects."""
    objects: Objects = {}
    for number in range(count):
        x = 2 + number % 10
        objects[f"p{number:03}.png"] = [("cat", (x, 3, x + 20, 30))]
        if number % 2:
            objects[f"p{number:03}.png"].append(("dog", (x + 25, 10, 64, 48)))
    objects[f"p{count:03}.png"] = []
    return objects


def save_images(folder: Path, objects: Objects) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(objects):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(folder / name)


def voc_xml(name: str, boxes: Sequence, size: tuple[int, int] = (64, 48), extra: str = "") -> str:
    objects = "".join(
        f"<object><name>{escape(label)}</name><bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), xyxy, strict=True))
        + "</bndbox></object>"
        for label, xyxy in boxes
    )
    width, height = (f"<{side}>{length}</{side}>" for side, length in zip(("width", "height"), size, strict=True))
    return f"<annotation><filename>{escape(name)}</filename><size>{width}{height}</size>{extra}{objects}</annotation>"


def write_voc(root: Path, objects: Objects) -> None:
    save_images(root / "images", objects)
    (root / "annotations").mkdir()
    for name, boxes in objects.items():
        xml = root / "annotations" / f"{Path(name).stem}.xml"
        xml.write_text(voc_xml(name, boxes), encoding="utf-8")


def coco_content(objects: Objects) -> dict:
    names = sorted({label for boxes in objects.values() for label, _ in boxes})
    images: list[dict] = []
    annotations: list[dict] = []
    for number, (name, boxes) in enumerate(objects.items(), start=1):
        images.append({"id": number, "file_name": name, "width": 64, "height": 48})
        for label, (x1, y1, x2, y2) in boxes:
            ids = {"id": len(annotations) + 1, "image_id": number, "category_id": names.index(label) + 1}
            annotations.append(ids | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root: Path, objects: Objects) -> dict:
    save_images(root / "images", objects)
    content = coco_content(objects)
    (root / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return content


def write_yolo(root: Path, objects: Objects, digits: int = 6) -> None:
    save_images(root / "images", objects)
    names = sorted({label for boxes in objects.values() for label, _ in boxes})
    (root / "data.yaml").write_text(yaml.safe_dump({"names": dict(enumerate(names))}), encoding="utf-8")
    (root / "labels").mkdir()
    for name, boxes in objects.items():
        lines = [
            f"{names.index(label)} {(x1 + x2) / 128:.{digits}f} {(y1 + y2) / 96:.{digits}f} "
            f"{(x2 - x1) / 64:.{digits}f} {(y2 - y1) / 48:.{digits}f}\n"
            for label, (x1, y1, x2, y2) in boxes
        ]
        (root / "labels" / f"{Path(name).stem}.txt").write_text("".join(lines), encoding="utf-8")


def write_csv(root: Path, objects: Objects, header: str = "", folder: str = "images/") -> None:
    save_images(root / "images", objects)
    lines = [header] if header else []
    for name, boxes in objects.items():
        lines += [f"{folder}{name},{','.join(str(side) for side in xyxy)},{label}" for label, xyxy in boxes]
        lines += [] if boxes else [f"{folder}{name},,,,,"]
    (root / "boxes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_metadata(root: Path, objects: Objects) -> None:
    save_images(root / "images", objects)
    lines = []
    for name, boxes in objects.items():
        bbox = [[x1, y1, x2 - x1, y2 - y1] for _, (x1, y1, x2, y2) in boxes]
        columns = {"bbox": bbox, "categories": [label for label, _ in boxes]}
        lines.append(json.dumps({"file_name": name, "objects": columns}))
    (root / "images" / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


class Workspace:
    """A folder with params.yaml and data/raw; images are not tiled (tile_size 0) unless a test changes that."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.raw, self.capsys = folder, folder / "data/raw", capsys
        self.raw.mkdir(parents=True)
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        self.params["download"]["source"] = "folder"  # not the package, which has settings of its own
        self.change(tile_size=0, max_skipped=1.0)
        monkeypatch.chdir(folder)

    def change(self, **values: object) -> None:
        self.change_section("prepare", **values)

    def change_section(self, section: str, **values: object) -> None:
        self.params[section] |= values
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params), encoding="utf-8")

    def prepare(self) -> tuple[int, str, str]:
        """Run the stage: exit code, stdout, stderr."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            prepare.main()
        captured = self.capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    def succeeds(self) -> str:
        """Run the stage, which must succeed; its stdout."""
        code, out, err = self.prepare()
        assert code == 0, err
        return out

    def report(self) -> str:
        """Run the data-report stage, which must succeed; its stdout."""
        with pytest.raises(SystemExit) as end:
            data_report.main()
        captured = self.capsys.readouterr()
        assert not end.value.code, captured.err
        return captured.out

    def fails(self) -> str:
        """Run the stage, which must fail and change no file; the one line it prints on stderr."""
        before = self.tree()
        code, _, err = self.prepare()
        assert code == 1, "the stage succeeded"
        assert self.tree() == before, "something was written"
        lines = [line for line in err.splitlines() if line.strip() and "checking:" not in line]
        assert len(lines) == 1 and lines[0].startswith("error: "), err
        return lines[0]

    def tree(self) -> dict[str, str]:
        """{path: sha256 of a file, or an empty string for a folder}."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in self.folder.rglob("*")
        }

    def read(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def statistics(self) -> dict:
        """The statistics of the data report on the prepared files."""
        self.report()
        return self.read("reports/data/statistics.json")

    def prepared(self) -> dict[str, dict]:
        return {split: self.read(f"data/prepared/{split}.json") for split in ("train", "val", "test")}

    def names(self) -> dict[str, set[str]]:
        """{split: names of its images without their folder}."""
        return {s: {Path(i["file_name"]).name for i in content["images"]} for s, content in self.prepared().items()}

    def annotations(self) -> list[tuple[str, str, list[float]]]:
        """(image, class, bbox) of all splits, sorted."""
        rows = []
        for content in self.prepared().values():
            files = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
            names = {category["id"]: category["name"] for category in content["categories"]}
            rows += [(files[a["image_id"]], names[a["category_id"]], a["bbox"]) for a in content["annotations"]]
        return sorted(rows)


def replace_sections(workspace: Workspace, **sections: object) -> None:
    """Replace sections of the COCO file."""
    content = json.loads((workspace.raw / "annotations.json").read_text()) | sections
    (workspace.raw / "annotations.json").write_text(json.dumps(content))


def add_boxes(workspace: Workspace, *boxes: list[float]) -> None:
    """Add boxes [x, y, width, height] of class 1 to the first image, which has one already."""
    content = json.loads((workspace.raw / "annotations.json").read_text())
    for number, box in enumerate(boxes, start=1000):
        content["annotations"].append({"id": number, "image_id": 1, "category_id": 1, "bbox": box})
    replace_sections(workspace, annotations=content["annotations"])

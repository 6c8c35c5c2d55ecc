"""How much processor time and memory prepare's work on annotations takes, at the size of COCO.

    uv run python -m benchmarks.prepare_scale

Annotations are generated: as many images and boxes as COCO's train2017, with outlines as it has them,
and again a half and a quarter of it. All is measured that grows with them but the decoding of images, whose facts
are made up: reading, checking boxes, looking for look-alikes, splitting, writing, the figures.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from retinanet.annotations.coco_json import read_coco_source
from retinanet.annotations.records import SourceDataset
from retinanet.data_report.coverage import AnchorSettings
from retinanet.data_report.statistics import Found, examine
from retinanet.dataset.coco import write_coco
from retinanet.images.reading import THUMBNAIL, ImageFacts
from retinanet.prepare.checks import Checked, CheckedImage, check_boxes
from retinanet.prepare.copies import find_copies
from retinanet.prepare.placement import assign_splits, settle_official_splits
from retinanet.prepare.store import numbered_categories, split_datasets, store_tiles

IMAGES, BOXES, CLASSES = 118_000, 860_000, 80
WIDTH, HEIGHT = 640, 480
ANCHORS = AnchorSettings((32, 64, 128, 256, 512), 3, (0.5, 1.0, 2.0))


def main() -> None:
    print(f"{'images':>9} {'boxes':>9} {'MB':>6} {'CPU s':>8} {'us a box':>9} {'peak MB':>8}  parts")
    for divisor in (4, 2, 1):
        # A process each: the peak of one would hide that of the next.
        arguments = [str(IMAGES // divisor), str(BOXES // divisor)]
        subprocess.run([sys.executable, "-m", "benchmarks.prepare_scale", *arguments], check=True)


def measure(images: int, boxes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        path = generate(root, images, boxes)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times: dict[str, float] = {}
        start = time.process_time()

        def done(part: str) -> None:
            times[part] = time.process_time() - start - sum(times.values())

        source = read_coco_source(root, [path])
        done("read")
        checked = check(source)
        done("check boxes")
        copies = find_copies(checked.images)
        done("look-alikes")
        settled, remarks = settle_official_splits(checked.images, copies.same, 0.15, 0)
        parts = assign_splits(settled, copies.same, 0.15, 0.2, 0, 0, 0.25, 0.4)
        stored = store_tiles(parts, root / "tiles", root / "tiles")
        datasets = split_datasets(stored, numbered_categories(source, parts))
        done("split")
        for split, dataset in datasets.items():
            write_coco(dataset, root / f"{split}.json")
        done("write")
        examine(Found(source, checked, copies, stored, datasets, remarks, {}), ANCHORS, 800, 1333, 0.9)
        done("figures")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        total = sum(times.values())
        print(
            f"{images:9,} {boxes:9,} {path.stat().st_size / 1e6:6.0f} {total:8.1f} {total / boxes * 1e6:9.1f} "
            f"{peak / 1024:8.0f}  {', '.join(f'{part} {seconds:.1f}' for part, seconds in times.items())} "
            f"({before / 1024:.0f} MB before)",
            flush=True,
        )


def generate(root: Path, images: int, boxes: int) -> Path:
    """A COCO file with random boxes, and images that are empty files. Written row by row, in little memory."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir()
    names = [f"{number:012}.jpg" for number in range(images)]
    for name in names:
        (root / "images" / name).touch()
    corners = generator.uniform(0, (WIDTH - 20, HEIGHT - 20), (boxes, 2))
    sides = np.minimum(np.exp(generator.uniform(np.log(8), np.log(400), (boxes, 2))), (WIDTH, HEIGHT) - corners)
    owners, classes = generator.integers(images, size=boxes), generator.integers(CLASSES, size=boxes)
    path = root / "annotations.json"
    with open(path, "w") as file:
        rows = ({"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names, start=1))
        file.write('{"images": [' + ",".join(map(json.dumps, rows)))
        categories = [{"id": number + 1, "name": f"class {number:02}"} for number in range(CLASSES)]
        file.write(f'], "categories": {json.dumps(categories)}, "annotations": [')
        for row in range(boxes):
            (x, y), (width, height) = corners[row].round(2).tolist(), sides[row].round(2).tolist()
            outline = [x, y, x + width, y, x + width, y + height, x, y + height] * 5
            annotation = {"id": row + 1, "image_id": int(owners[row]) + 1, "category_id": int(classes[row]) + 1}
            annotation |= {"bbox": [x, y, width, height], "area": width * height, "segmentation": [outline]}
            file.write(("," if row else "") + json.dumps(annotation))
        file.write("]}")
    return path


def check(source: SourceDataset) -> Checked:
    """As check_all does, but for images that are not there: of one size, each with a look of its own."""
    checked = Checked([], [], [], [])
    generator = np.random.default_rng(1)
    for number, image in enumerate(source.images):
        cells = generator.integers(0, 256, (8, 9), np.uint8)
        thumbnail = cells.repeat(THUMBNAIL[1] // 8, axis=0).repeat(THUMBNAIL[0] // 9, axis=1).tobytes()
        boxes, skipped, clipped = check_boxes(image, WIDTH, HEIGHT)
        facts = ImageFacts(WIDTH, HEIGHT, f"{number:064x}", (), thumbnail)
        checked.images.append(CheckedImage(image, facts, boxes))
        checked.skipped_boxes.extend(skipped)
        checked.clipped_boxes.extend(clipped)
    return checked


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()

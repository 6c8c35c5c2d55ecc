"""CPU time and memory of prepare and data-report on annotations of the size of COCO.

    uv run python -m benchmarks.prepare_scale               # a quarter, a half and all of COCO's train2017
    uv run python -m benchmarks.prepare_scale 1000 7000     # that many images and boxes

The annotations are generated, with polygons like COCO's. Every step that grows with them is measured except decoding
the images, which do not exist: reading, checking boxes, finding near-duplicates, splitting, writing and statistics.
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
from retinanet.annotations.files import SourceFiles
from retinanet.annotations.records import SourceDataset
from retinanet.data_report.coverage import AnchorSettings
from retinanet.data_report.statistics import data_statistics
from retinanet.dataset.coco import write_coco
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import THUMBNAIL, ImageFacts
from retinanet.prepare.checks import Checked, CheckedImage, check_boxes
from retinanet.prepare.copies import find_copies
from retinanet.prepare.findings import collect_findings
from retinanet.prepare.placement import assign_splits, complete_official_splits
from retinanet.prepare.store import numbered_categories, split_datasets, store_tiles

IMAGES, BOXES, CLASSES = 118_000, 860_000, 80
WIDTH, HEIGHT = 640, 480
ANCHORS = AnchorSettings((32, 64, 128, 256, 512), 3, (0.5, 1.0, 2.0))


def main() -> None:
    print(f"{'images':>9} {'boxes':>9} {'MB':>6} {'CPU s':>8} {'us/box':>9} {'peak MB':>8}  CPU s of each step")
    for divisor in (4, 2, 1):
        # One process each: the peak memory of one would hide that of the next.
        arguments = [str(IMAGES // divisor), str(BOXES // divisor)]
        subprocess.run([sys.executable, "-m", "benchmarks.prepare_scale", *arguments], check=True)


def measure(images: int, boxes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        path = generate(root, images, boxes)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times: dict[str, float] = {}
        start = time.process_time()

        def done(step: str) -> None:
            times[step] = time.process_time() - start - sum(times.values())

        source = read_coco_source(SourceFiles(root))
        done("read")
        checked = check_without_images(source)
        done("check boxes")
        copies = find_copies(checked.images)
        done("near-duplicates")
        completed, remarks = complete_official_splits(checked.images, copies.same, 0.15, 0)
        parts = assign_splits(completed, copies.same, 0.15, 0.2, 0, 0, 0.25, 0.4)
        stored = store_tiles(parts, root / "tiles", root / "tiles")
        datasets = split_datasets(stored, numbered_categories(source, parts))
        done("split")
        for split, dataset in datasets.items():
            write_coco(dataset, root / f"{split}.json")
        done("write")
        findings = collect_findings(source, checked, copies, stored, remarks, [], {})
        data_statistics(findings, datasets, ANCHORS, InputSize(800, 1333), 0.9)
        done("statistics")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        total = sum(times.values())
        print(
            f"{images:9,} {boxes:9,} {path.stat().st_size / 1e6:6.0f} {total:8.1f} {total / boxes * 1e6:9.1f} "
            f"{peak / 1024:8.0f}  {', '.join(f'{step} {seconds:.1f}' for step, seconds in times.items())} "
            f"({before / 1024:.0f} MB before)",
            flush=True,
        )


def generate(root: Path, images: int, boxes: int) -> Path:
    """Write a COCO file with random boxes, row by row to save memory, and empty files as images."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir()
    names = [f"{number:012}.jpg" for number in range(images)]
    for name in names:
        (root / "images" / name).touch()
    corners = generator.uniform(0, (WIDTH - 20, HEIGHT - 20), (boxes, 2))
    sides = np.minimum(np.exp(generator.uniform(np.log(8), np.log(400), (boxes, 2))), (WIDTH, HEIGHT) - corners)
    image_rows, classes = generator.integers(images, size=boxes), generator.integers(CLASSES, size=boxes)
    path = root / "instances_all.json"  # found by its name, without a look into it
    with open(path, "w") as file:
        rows = ({"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names, start=1))
        file.write('{"images": [' + ",".join(map(json.dumps, rows)))
        categories = [{"id": number + 1, "name": f"class {number:02}"} for number in range(CLASSES)]
        file.write(f'], "categories": {json.dumps(categories)}, "annotations": [')
        for row in range(boxes):
            (x, y), (width, height) = corners[row].round(2).tolist(), sides[row].round(2).tolist()
            polygon = [x, y, x + width, y, x + width, y + height, x, y + height] * 5
            ids = {"id": row + 1, "image_id": int(image_rows[row]) + 1, "category_id": int(classes[row]) + 1}
            shape = {"bbox": [x, y, width, height], "area": width * height, "segmentation": [polygon]}
            file.write(("," if row else "") + json.dumps(ids | shape))
        file.write("]}")
    return path


def check_without_images(source: SourceDataset) -> Checked:
    """Like check_all, for images that do not exist: all of one size, each with a random thumbnail."""
    checked = Checked([], [], [], [], [])
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

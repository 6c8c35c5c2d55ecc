"""Ground truth and detections for tests of evaluation: chosen by hand, or random with ties, crowds and empty images."""

import numpy as np

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects

CATEGORY_IDS = (3, 7)


def dataset(*images_objects: list, groups: tuple = ()) -> CocoDataset:
    """One image of 300 x 300 for each list of (box_xyxy, label) or (box_xyxy, label, iscrowd); classes cat and dog."""
    of_images = groups or (None,) * len(images_objects)
    images = tuple(ImageInfo(i, f"{i}.png", 300, 300, group) for i, group in enumerate(of_images, start=1))
    return CocoDataset(images, ("cat", "dog"), CATEGORY_IDS, dict(enumerate(map(_objects, images_objects), start=1)))


def result(image_id: int, box_xyxy: list, label: int, score: float) -> dict:
    """A row of COCO results."""
    x1, y1, x2, y2 = box_xyxy
    bbox = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": image_id, "category_id": CATEGORY_IDS[label], "bbox": bbox, "score": score}


def random_results(seed: int, images: int, groups: tuple = ()) -> tuple[CocoDataset, list[dict]]:
    """Objects, a tenth of them ignored regions, with two detections each, one of the wrong class; scores have ties."""
    rng = np.random.default_rng(seed)
    objects: list[list] = []
    rows: list[dict] = []
    for image_id in range(1, images + 1):
        objects.append([])
        for _ in range(int(rng.integers(0, 7))):
            corner, size = rng.integers(0, 100, 2), rng.integers(5, 200, 2)
            box, label = [*corner.tolist(), *(corner + size).tolist()], int(rng.integers(0, 2))
            objects[-1].append((box, label, bool(rng.random() < 0.1)))
            for found, highest in ((label, 1.0), (1 - label, 0.5)):
                moved = [side + float(rng.normal(0, 4)) for side in box]
                rows.append(result(image_id, moved, found, round(float(rng.random() * highest), 1)))
    return dataset(*objects, groups=groups), rows


def _objects(rows: list) -> Objects:
    return Objects(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([len(row) > 2 and row[2] for row in rows], bool),
    )

"""How honest and how fast evaluation is: `uv run python -m benchmarks.evaluation coverage`, or `speed`.

coverage draws test sets from a simulated detector whose AP is known, and prints how often the 95% interval holds it,
and how often one of two equally good models is called better. speed evaluates random boxes.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.coco_metrics import evaluate
from retinanet.evaluation.intervals import differences, intervals
from retinanet.evaluation.matches import IOUS, Matches, class_areas, matches_of

CLASSES = ("common", "rare")
PRESENT = np.array([1.0, 0.5])  # share of the groups with the class
TRUTH_UNITS = 20_000


class Detector(NamedTuple):
    """A simulated detector; difficulty is the spread of the groups' difficulty, noise that of the scores and boxes.

    skill shifts the score of objects, and so AP.
    """

    skill: float = 1.6
    difficulty: float = 0.8
    noise: float = 1.0


class Scenes(NamedTuple):
    """N objects or distractors on U groups: what every detector sees alike."""

    images: np.ndarray
    units: np.ndarray
    labels: np.ndarray
    is_object: np.ndarray
    hardness: np.ndarray


def draw_scenes(generator: np.random.Generator, groups: int, most_images: int = 1, spread: float = 0.8) -> Scenes:
    """Groups of 1 to most_images images; the images of a group are alike difficult."""
    images = generator.integers(1, most_images + 1, groups)
    difficulty = generator.normal(0, spread, groups)
    has_class = generator.random((groups, len(CLASSES))) < PRESENT
    columns: list[tuple[np.ndarray, ...]] = []
    for label in range(len(CLASSES)):
        for kind, mean in ((True, 6.0 * has_class[:, label]), (False, np.full(groups, 4.0))):
            unit = np.repeat(np.arange(groups), generator.poisson(mean * images))
            columns.append((unit, np.full(len(unit), label), np.full(len(unit), kind)))
    units, labels, is_object = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    hardness = difficulty[units] + generator.normal(0, 1, len(units))
    return Scenes(images, units, labels, is_object, hardness)


def detect(generator: np.random.Generator, scenes: Scenes, detector: Detector) -> Matches:
    """Every object and distractor is detected, at most once."""
    noise = generator.normal(0, detector.noise, (2, len(scenes.units)))
    strength = np.where(scenes.is_object, detector.skill - scenes.hardness, scenes.hardness - detector.skill)
    scores = 1 / (1 + np.exp(-strength - noise[0]))
    quality = 0.85 - 0.1 * scenes.hardness + 0.05 * noise[1]
    objects = np.zeros((len(scenes.images), len(CLASSES)), np.int64)
    np.add.at(objects, (scenes.units[scenes.is_object], scenes.labels[scenes.is_object]), 1)
    order = np.lexsort((-scores, scenes.labels))
    is_true = (scenes.is_object & (quality >= IOUS[:, None]))[:, order]
    scores, labels, units = (array[order] for array in (scores, scenes.labels, scenes.units))
    return Matches(CLASSES, scenes.images, objects, scores, labels, units, is_true, np.zeros_like(is_true))


def true_metrics(detector: Detector, most_images: int = 1) -> dict[str, float]:
    """The metrics on TRUTH_UNITS groups."""
    generator = np.random.default_rng(12345)
    matches = detect(generator, draw_scenes(generator, TRUTH_UNITS, most_images, detector.difficulty), detector)
    return {name: interval.value for name, interval in intervals(matches).items()}


def coverage(sets: int, groups: int, most_images: int = 1, seed: int = 0) -> dict[str, tuple[int, int]]:
    """For each metric, how many of the intervals of `sets` test sets hold the truth, and how many there are."""
    generator, detector = np.random.default_rng(seed), Detector()
    truth = true_metrics(detector, most_images)
    counts = {name: (0, 0) for name in truth}
    for _ in range(sets):
        scenes = draw_scenes(generator, groups, most_images, detector.difficulty)
        for name, interval in intervals(detect(generator, scenes, detector)).items():
            held, made = counts[name]
            holds = interval.low <= truth[name] <= interval.high
            counts[name] = (held + holds, made + (not interval.reason))
    return counts


def called_better(pairs: int, groups: int, gain: float = 0.0, most_images: int = 1, seed: int = 0) -> float:
    """The share of pairs of detectors whose second, of `gain` more skill, is better on AP50 with 95% confidence."""
    generator, old, new = np.random.default_rng(seed), Detector(), Detector(skill=Detector().skill + gain)
    better = 0
    for _ in range(pairs):
        scenes = draw_scenes(generator, groups, most_images, old.difficulty)
        gained = differences(detect(generator, scenes, new), detect(generator, scenes, old))["AP50"]
        better += gained.low > 0
    return better / pairs


def print_coverage(sets: int) -> None:
    print("| test set | AP | AP50 | AP50 of the rare class | equally good, called better |\n| --- |" + " --- |" * 4)
    for groups, most_images in ((30, 1), (50, 1), (72, 1), (150, 1), (400, 1), (60, 4)):
        counts = coverage(sets, groups, most_images)
        shares = [
            f"{counts[name][0] / counts[name][1]:.3f}" if counts[name][1] > sets / 2 else "no interval"
            for name in ("AP", "AP50", "AP50/rare")
        ]
        better = called_better(sets, groups, most_images=most_images)
        kind = f"{groups} images" if most_images == 1 else f"{groups} groups of 1 to {most_images}"
        print(f"| {kind} | {' | '.join(shares)} | {better:.3f} |", flush=True)


def random_boxes(images: int, detections: int, classes: int) -> tuple[CocoDataset, list[dict]]:
    """A tenth as many objects as detections, on each of which a detection lies; the others lie anywhere."""
    generator = np.random.default_rng(0)
    infos, objects, results = [], {}, []
    for image_id in range(1, images + 1):
        corners, sides = generator.uniform(0, 500, (detections, 2)), generator.uniform(10, 140, (detections, 2))
        labels, scores = generator.integers(0, classes, detections), generator.random(detections)
        count = max(1, detections // 10)
        boxes = np.hstack([corners, corners + sides])[:count].astype(np.float32)
        objects[image_id] = Objects(boxes, labels[:count], np.zeros(count, bool))
        infos.append(ImageInfo(image_id, f"{image_id}.jpg", 640, 640))
        corners[:count] += generator.normal(0, 4, (count, 2))
        results += [
            {"image_id": image_id, "category_id": int(label) + 1, "bbox": [*corner, *side], "score": float(score)}
            for label, corner, side, score in zip(labels, corners.tolist(), sides.tolist(), scores, strict=True)
        ]
    names = tuple(f"class {number}" for number in range(classes))
    return CocoDataset(tuple(infos), names, tuple(range(1, classes + 1)), objects), results


def print_speed(images: int, detections: int, classes: int) -> None:
    dataset, results = random_boxes(images, detections, classes)
    evaluation = _timed("pycocotools: match, accumulate, summarize", lambda: evaluate(dataset, results))
    _timed("pycocotools: accumulate again", evaluation.accumulate)
    matches = _timed("matches by unit", lambda: matches_of(evaluation, dataset))
    ones = np.ones((1, len(matches.images)))
    _timed("AP of each class again", lambda: [class_areas(matches, label, ones) for label in range(classes)])
    found = _timed("all intervals", lambda: intervals(matches))
    _timed("all differences of two models", lambda: differences(matches, matches))
    difference = abs(found["AP"].value - float(evaluation.stats[0]))
    print(f"AP {found['AP'].value:.4f}, {difference:.1g} from pycocotools; interval {found['AP'][1:3]}")


def _timed(name: str, run: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = run()
    print(f"{name}: {time.perf_counter() - start:.2f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["coverage", "speed"])
    parser.add_argument("--sets", type=int, default=1000, help="test sets of each row of coverage")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="of each image")
    parser.add_argument("--classes", type=int, default=80)
    arguments = parser.parse_args()
    if arguments.what == "coverage":
        print_coverage(arguments.sets)
    else:
        print_speed(arguments.images, arguments.detections, arguments.classes)


if __name__ == "__main__":
    main()

"""How honest and how fast evaluation is: `uv run python -m benchmarks.evaluation coverage`, or `speed`.

coverage draws test sets from a simulated detector whose AP is known, and prints how often the 95% interval holds it,
and how often one of two equally good models is called better. speed evaluates random boxes, also with pycocotools.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks.pycocotools_reference import pycocotools_evaluation
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.coco_metrics import evaluate, summarize
from retinanet.evaluation.intervals import differences, intervals
from retinanet.evaluation.matches import Matches, class_areas, matches_of
from retinanet.evaluation.matching import IOUS
from retinanet.runtime import processor

CLASSES = ("common", "rare")
PRESENT = np.array([1.0, 0.5])  # share of the groups with the class
TRUTH_UNITS = 20_000
RESAMPLES_AT_ONCE = 50  # so that their arrays stay in the processor's cache
_FORK = multiprocessing.get_context("fork")


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


class Cost(NamedTuple):
    """What a process measured of a function: seconds of processor time, MiB above those before, and its result.

    Other work on the machine changes the processor time little.
    """

    seconds: float
    mebibytes: float
    result: Any


def cost(run: Callable[[], Any]) -> Cost:
    """Run a function in a copy of this process, so that memory is that function's."""
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_measure, args=(run, sender))
    process.start()
    found = receiver.recv()
    process.join()
    return found


def _measure(run: Callable[[], Any], sender: Connection) -> None:
    before, start = psutil.Process().memory_info().rss, time.process_time()
    result = run()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sender.send(Cost(seconds, (peak - before) / 2**20, result))


def print_speed(images: int, detections: int, classes: int, resamples: int) -> None:
    """Print what ours and pycocotools' evaluation cost, how their arrays differ, and what resamples cost."""
    dataset, results = random_boxes(images, detections, classes)
    print(f"{images} images x {detections} detections x {classes} classes on {processor()}", flush=True)
    ours = cost(lambda: _ours(dataset, results))
    print(f"this project: {ours.seconds:.2f} s, {ours.mebibytes:.0f} MiB", flush=True)
    theirs = cost(lambda: _pycocotools(dataset, results))
    print(f"pycocotools: {theirs.seconds:.2f} s, {theirs.mebibytes:.0f} MiB", flush=True)
    times, share = theirs.seconds / ours.seconds, ours.mebibytes / theirs.mebibytes
    difference = max(np.abs(a - b).max() for a, b in zip(ours.result, theirs.result, strict=True))
    print(f"{times:.0f} times as fast in {share:.0%} of the memory; precision and recall differ by {difference:.1g}")
    generator = np.random.default_rng(1)
    disturbed = [row | {"score": score} for row, score in zip(results, generator.random(len(results)), strict=True)]
    new, old = (matches_of(evaluate(dataset, rows), dataset) for rows in (disturbed, results))
    drawn = cost(lambda: resampled_gains(generator, new, old, resamples))
    low, high = np.quantile(drawn.result, (0.025, 0.975))
    print(
        f"{resamples} paired resamples: {drawn.seconds:.1f} s, {drawn.mebibytes:.0f} MiB; AP {low:+.4f} to {high:+.4f}"
    )
    print(f"all intervals: {cost(lambda: len(intervals(old))).seconds:.1f} s", flush=True)
    print(f"all differences of two models: {cost(lambda: len(differences(new, old))).seconds:.1f} s", flush=True)


def resampled_gains(generator: np.random.Generator, new: Matches, old: Matches, count: int) -> np.ndarray:
    """(count,) the gain in AP from `old` to `new` on test sets that are drawn from the units with replacement."""
    units, classes = old.objects.shape
    weights = generator.multinomial(units, np.full(units, 1 / units), size=count).astype(np.float64)
    gains = np.full((classes, count), np.nan)
    for label in range(classes):
        for first in range(0, count, RESAMPLES_AT_ONCE):
            rows = slice(first, first + RESAMPLES_AT_ONCE)
            areas = [class_areas(matches, label, weights[rows]) for matches in (new, old)]
            gains[label, rows] = (areas[0] - areas[1]).mean(axis=1)
    return np.nanmean(gains, axis=0)


def _ours(dataset: CocoDataset, results: list[dict]) -> tuple[np.ndarray, ...]:
    evaluation = evaluate(dataset, results)
    matches_of(evaluation, dataset)
    summarize(evaluation, dataset)
    return evaluation.precision, evaluation.recall


def _pycocotools(dataset: CocoDataset, results: list[dict]) -> tuple[np.ndarray, ...]:
    """What of its precision and recall the summary needs, as Evaluation has them."""
    evaluation = pycocotools_evaluation(dataset, results)
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return precision[..., -1], np.concatenate([recall[..., -1], recall[:, :, 0, :2]], axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["coverage", "speed"])
    parser.add_argument("--sets", type=int, default=1000, help="test sets of each row of coverage")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="of each image")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.what == "coverage":
        print_coverage(arguments.sets)
    else:
        print_speed(arguments.images, arguments.detections, arguments.classes, arguments.resamples)


if __name__ == "__main__":
    main()

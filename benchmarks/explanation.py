"""How faithful each method's heat maps are, on the hits of a test split: the tables of docs/explanation.md.

    uv run python -m benchmarks.explanation [--hits 60] [--model FILE] [--test FILE]

Run it in a workspace after `dvc repro evaluate`. The measures are those of retinanet.explain.faithfulness; the last
column is the time of a heat map, in passes of the network over the image, if an image has one, or ten.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.errors import EvaluationError, exit_on_error
from retinanet.evaluation.errors import detections_above
from retinanet.evaluation.validate import validate
from retinanet.explain.cam import METHODS
from retinanet.explain.cases import HIT, Case, select_cases
from retinanet.explain.faithfulness import ALL, GAUSSIAN, RANDOM, SUBNET, Measured, measure, randomized
from retinanet.explain.targets import Target, explain_targets, network_input, run_image
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import read_image
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.folding import for_inference
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import load_model
from retinanet.runtime import chosen_device

TIMED = 5


@exit_on_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hits", type=int, default=60, help="true positives, spread evenly over classes and scores")
    parser.add_argument("--model", type=Path, default=Path("models/model.safetensors"))
    parser.add_argument("--test", type=Path, default=Path("data/prepared/test.json"))
    args = parser.parse_args()
    trained, test_set = load_model(args.model), read_coco(args.test)
    model = for_inference(trained.model).to(chosen_device())
    results = validate(model, test_set, Path(), trained.input_size, STANDARD_DECODING, workers=0).results
    detections = detections_above(test_set, results, trained.score_thresholds)
    count = sum(map(len, detections.values()))
    cases = select_cases(test_set, detections, trained.score_thresholds, max(1, count), 3 * max(1, count))
    hits = evenly_spaced([case for case in cases if case.kind == HIT], args.hits)
    if not hits:
        raise EvaluationError(f"{args.model} has no true positive on {args.test}, so there is nothing to measure")
    print(f"{len(hits)} hits of {args.model} on {len(test_set.images)} test images\n")
    print("| map | deletion | insertion | maximum in the box | heat in the box | similarity, subnet random |", end="")
    print(" similarity, all random | passes for 1 | for 10 |\n|" + " --- |" * 9)
    measured = _measure_all(model, test_set, hits, trained.input_size)
    passes = _passes(model, test_set, hits, trained.input_size)
    for name in (*METHODS, RANDOM, GAUSSIAN):
        print(f"| {name} | {' | '.join([*_means([one[name] for one in measured]), *passes.get(name, ['', ''])])} |")


def _measure_all(
    model: RetinaNet, test_set: CocoDataset, hits: Sequence[Case], input_size: InputSize
) -> list[dict[str, Measured]]:
    random_models, generator = randomized(model), np.random.default_rng(0)
    measured = []
    for hit in tqdm(hits, unit=" hits", leave=False):
        image, target = _image(test_set, hit), Target(hit.label, hit.box_xyxy)
        measured.append(measure(model, random_models, image, target, input_size, [*METHODS], generator))
    return measured


def _means(measured: Sequence[Measured]) -> list[str]:
    columns = [[getattr(one, field) for one in measured] for field in Measured._fields[:-1]]
    columns += [[one.similarity[name] for one in measured if one.similarity] for name in (SUBNET, ALL)]
    return [f"{np.mean(column):.3f}" if column else "" for column in columns]


def _passes(
    model: RetinaNet, test_set: CocoDataset, hits: Sequence[Case], input_size: InputSize
) -> dict[str, list[str]]:
    """The time of explaining 1 and 10 detections of an image, each, as a multiple of one pass of the network."""
    image = _image(test_set, hits[0])
    inputs = network_input(model, image, run_image(model, image, input_size).size)
    target = Target(hits[0].label, hits[0].box_xyxy)

    def forward() -> None:
        with torch.no_grad():
            model(inputs)

    single = _seconds(forward)
    return {
        method: [
            f"{_seconds(partial(explain_targets, model, image, input_size, [target] * n, method)) / n / single:.2f}"
            for n in (1, 10)
        ]
        for method in METHODS
    }


def _seconds(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _image(test_set: CocoDataset, hit: Case) -> np.ndarray:
    info = next(info for info in test_set.images if info.id == hit.image_id)
    return read_image(Path(info.file_name), test_set.reading)


if __name__ == "__main__":
    main()

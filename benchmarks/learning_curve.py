"""Would more images help? What parts of train reach on val, each in as many steps as all of it.

    uv run python -m benchmarks.learning_curve [--parts 0.25 0.5 1] [--seeds 0 1]

Run where data/prepared is what the question is about, with its params.yaml. A seed draws the part and trains. Losses
are the classification's, train's with augmentation.
"""

import argparse
from dataclasses import replace

import numpy as np

from benchmarks.search import trained
from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.runtime import keep_freed_memory
from stages import paths

KEYS = "train/classification_loss", "val/classification_loss", "val/AP50", "val/AP"
HEAD = "| images | objects | epochs | seed | train loss | val loss | val AP50 | val AP |\n|" + " --- |" * 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    keep_freed_memory()
    params, train = load_params(), read_coco(paths.TRAIN_JSON)
    print(HEAD)
    for seed in arguments.seeds:
        for part in arguments.parts:
            learned = _part(train, part, seed)
            epochs = round(params.train.epochs * len(train.images) / len(learned.images))
            settings = params.train.model_copy(update={"epochs": epochs, "validate_every": epochs, "seed": seed})
            metrics = trained(params.model_copy(update={"train": settings}), learned)
            objects = sum(learned.objects[image.id].count for image in learned.images)
            cells = len(learned.images), objects, epochs, seed, *(f"{metrics[key]:.3f}" for key in KEYS)
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _part(dataset: CocoDataset, part: float, seed: int) -> CocoDataset:
    rows = np.random.default_rng(seed).permutation(len(dataset.images))[: max(1, round(part * len(dataset.images)))]
    return replace(dataset, images=tuple(dataset.images[row] for row in sorted(rows)))


if __name__ == "__main__":
    main()

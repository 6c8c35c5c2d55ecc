"""Would more images help? The metrics on val after training on a share of train, each in as many steps as all of it.

    uv run python -m benchmarks.learning_curve [--shares 0.25 0.5 1] [--seeds 0 1]

Run it in a workspace whose data/prepared and params.yaml the question is about. The seed draws the images and seeds the
training. Losses are classification losses, on train with augmentation.
"""

import argparse
from dataclasses import replace

import numpy as np

from benchmarks.search import train
from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.runtime import keep_freed_memory
from stages import paths

KEYS = "train/classification_loss", "val/classification_loss", "val/AP50", "val/AP"
HEAD = "| images | objects | epochs | seed | train loss | val loss | val AP50 | val AP |\n|" + " --- |" * 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    keep_freed_memory()
    params, train_set = load_params(), read_coco(paths.TRAIN_JSON)
    print(HEAD)
    for seed in arguments.seeds:
        for share in arguments.shares:
            subset = _draw(train_set, share, seed)
            epochs = round(params.train.epochs_for(len(train_set.images)) * len(train_set.images) / len(subset.images))
            settings = params.train.model_copy(update={"epochs": epochs, "validate_every": epochs, "seed": seed})
            metrics = train(params.model_copy(update={"train": settings}), subset)
            objects = sum(subset.objects[image.id].count for image in subset.images)
            cells = len(subset.images), objects, epochs, seed, *(f"{metrics[key]:.3f}" for key in KEYS)
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _draw(dataset: CocoDataset, share: float, seed: int) -> CocoDataset:
    """A random share of the images, at least one."""
    rows = np.random.default_rng(seed).permutation(len(dataset.images))[: max(1, round(share * len(dataset.images)))]
    return replace(dataset, images=tuple(dataset.images[row] for row in sorted(rows)))


if __name__ == "__main__":
    main()

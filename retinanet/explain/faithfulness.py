"""Whether heat maps show what a score rests on: deletion, insertion, randomized weights, beside two maps of no method.

Deletion and insertion (Petsiuk et al. 2018, RISE): the hottest pixels are painted over, or put into a blurred image, in
steps; the measure is the mean of the anchor's score, as a share of its score on the image. A faithful map has a low
deletion and a high insertion. Objects are small parts of an image, so the steps are counted in areas of the box.

Randomized weights (Adebayo et al. 2018): a map of a network that has learned nothing should be another one.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.stats import rankdata

from retinanet.dataset.coco import CocoDataset
from retinanet.explain.cam import METHODS, anchor_cell, heat_maps
from retinanet.explain.case_heats import localization
from retinanet.explain.cases import Case
from retinanet.explain.targets import ImagePass, Target, find_anchor, network_input, on_image, run_image
from retinanet.images.preprocess import InputSize, padding_color
from retinanet.images.reading import read_image
from retinanet.model.retinanet import RetinaNet

STEPS = 5
# Pixels that the last step has painted over or put in, in areas of the box.
MAX_AREAS = 2.0
RANDOM, GAUSSIAN = "random map", "Gaussian on the box"
SUBNET, ALL = "classification subnet", "all weights"


class Measured(NamedTuple):
    """The measures of one heat map; similarity to the map of a network with randomized SUBNET or ALL weights."""

    deletion: float
    insertion: float
    share_inside: float
    points_inside: bool
    similarity: Mapping[str, float]


def randomized(model: RetinaNet, seed: int = 0) -> dict[str, RetinaNet]:
    """Copies whose weights are shuffled: those of the classification SUBNET, and ALL, each tensor by itself."""
    generator = torch.Generator().manual_seed(seed)
    copies = {}
    for name, prefix in ((SUBNET, "classification."), (ALL, "")):
        copies[name] = copy.deepcopy(model)
        with torch.no_grad():
            for key, weights in copies[name].named_parameters():
                if key.startswith(prefix):
                    order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
                    weights.copy_(weights.flatten()[order].view_as(weights))
    return copies


def measure(
    model: RetinaNet,
    random_models: Mapping[str, RetinaNet],
    image: np.ndarray,
    target: Target,
    input_size: InputSize,
    methods: Sequence[str],
    generator: np.random.Generator,
) -> dict[str, Measured]:
    """The measures of each method's heat for a target on an image, and those of RANDOM and GAUSSIAN maps."""
    image_pass = run_image(model, image, input_size)
    anchor = find_anchor(image_pass, target), target.label
    random_passes = {name: run_image(random_model, image, input_size) for name, random_model in random_models.items()}
    heats: dict[str, np.ndarray] = {}
    similarities: dict[str, dict[str, float]] = {}
    for method in methods:
        (heat,) = heat_maps(image_pass.forward, [anchor], model.anchors_per_cell, METHODS[method])
        heats[method] = on_image(model, image_pass, heat.cells, heat.level)
        similarities[method] = {}
        for name, random_pass in random_passes.items():
            (other,) = heat_maps(random_pass.forward, [anchor], model.anchors_per_cell, METHODS[method])
            similarities[method][name] = rank_correlation(heat.cells, other.cells)
        # A random value for each cell of the level: a map of the same smoothness.
        heats[RANDOM] = on_image(model, image_pass, generator.random(heat.cells.shape, np.float32), heat.level)
    heats[GAUSSIAN] = gaussian(image.shape[:2], target.box_xyxy)
    return {
        name: Measured(
            *deletion_and_insertion(model, image_pass, image, anchor, heat, target.box_xyxy, generator),
            *localization(heat, target.box_xyxy),
            similarities.get(name, {}),
        )
        for name, heat in heats.items()
    }


def deletion_and_insertion(
    model: RetinaNet,
    image_pass: ImagePass,
    image: np.ndarray,
    anchor: tuple[int, int],
    heat: np.ndarray,
    box_xyxy: np.ndarray,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """The mean score of an anchor (index, label) while pixels are painted over, and while they are put in."""
    sides = (box_xyxy[2:] - box_xyxy[:2]).clip(1)
    blurred = cv2.GaussianBlur(image, (0, 0), float(max(sides)) / 2)
    paint = np.full_like(image, padding_color(model.backbone.mean))
    # Where the heat is equal, for example 0, pixels come in a random order.
    order = np.lexsort((generator.random(heat.size), -heat.ravel()))
    counts = (np.arange(1, STEPS + 1) / STEPS * MAX_AREAS * sides.prod()).round().astype(int)

    whole = float(torch.sigmoid(image_pass.forward.logits[anchor].detach().float()))

    def mean_score(start: np.ndarray, end: np.ndarray, score: float) -> float:
        scores = [score]
        for count in counts:
            changed = start.reshape(-1, 3).copy()
            changed[order[:count]] = end.reshape(-1, 3)[order[:count]]
            scores.append(_score(model, image_pass, changed.reshape(image.shape), anchor))
        return float(np.trapezoid(scores) / STEPS / whole)

    return mean_score(image, paint, whole), mean_score(blurred, image, _score(model, image_pass, blurred, anchor))


def gaussian(shape: tuple[int, ...], box_xyxy: np.ndarray) -> np.ndarray:
    """(H, W): a bell on the box, whose standard deviation is a quarter of each side."""
    center, deviation = (box_xyxy[:2] + box_xyxy[2:]) / 2, (box_xyxy[2:] - box_xyxy[:2]).clip(1) / 4
    x = (np.arange(shape[1]) + 0.5 - center[0]) / deviation[0]
    y = (np.arange(shape[0]) + 0.5 - center[1]) / deviation[1]
    return np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / 2).astype(np.float32)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; 0 if one map is constant."""
    ranks = np.stack([rankdata(a), rankdata(b)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=1))
    return float((ranks[0] * ranks[1]).sum() / lengths.prod()) if lengths.all() else 0.0


def faithfulness_metrics(
    model: RetinaNet, dataset: CocoDataset, hits: Sequence[Case], input_size: InputSize, method: str
) -> dict[str, float]:
    """Means over the hits of a dataset, by name of the metric; empty without hits."""
    if not hits:
        return {}
    infos = {info.id: info for info in dataset.images}
    random_models, generator = randomized(model), np.random.default_rng(0)
    measured = []
    for hit in hits:
        info = infos[hit.image_id]
        image = read_image(Path(info.file_name), dataset.reading)
        target = Target(hit.label, hit.box_xyxy)
        measured.append(measure(model, random_models, image, target, input_size, [method], generator))
    metrics = {}
    for prefix, name in (("heat", method), ("random", RANDOM), ("gaussian", GAUSSIAN)):
        for measurement in ("deletion", "insertion"):
            values = [getattr(of_hit[name], measurement) for of_hit in measured]
            metrics[f"{prefix}_{measurement}"] = float(np.mean(values))
    for suffix, name in (("subnet", SUBNET), ("weights", ALL)):
        values = [of_hit[method].similarity[name] for of_hit in measured]
        metrics[f"heat_similarity_random_{suffix}"] = float(np.mean(values))
    return metrics


def _score(model: RetinaNet, image_pass: ImagePass, image: np.ndarray, anchor: tuple[int, int]) -> float:
    """The score of an anchor (index, label) on a changed image; the subnet runs on the anchor's level alone."""
    grid_sizes = [(m.shape[-2], m.shape[-1]) for m in image_pass.forward.maps]
    level = anchor_cell(anchor[0], grid_sizes, model.anchors_per_cell)[0]
    first = sum(rows * columns for rows, columns in grid_sizes[:level]) * model.anchors_per_cell
    with torch.no_grad():
        maps = model.features(network_input(model, image, image_pass.size))
        logits = model.classification([maps[level]])
    return float(torch.sigmoid(logits[0, anchor[0] - first, anchor[1]].float()))

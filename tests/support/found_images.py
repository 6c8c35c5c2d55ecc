"""Matches of a simple test set: images with one object each, of which a detector finds some."""

import numpy as np

from retinanet.evaluation.matches import Matches
from retinanet.evaluation.matching import IOUS


def found_images(found: int, images: int = 100, first: int = 0, labels: int = 1) -> Matches:
    """A detector that finds the objects of `found` images, from the first on, and nothing else. Classes take turns."""
    units = np.arange(first, first + found)
    label_of = np.arange(images) % labels
    order = np.argsort(label_of[units], kind="stable")
    objects = np.zeros((images, labels), np.int64)
    objects[np.arange(images), label_of] = 1
    is_true = np.ones((len(IOUS), found), bool)
    names = ("cat", "dog", "owl")[:labels]
    ones = np.ones(images, np.int64)
    return Matches(
        names, ones, objects, np.full(found, 0.5), label_of[units][order], units[order], is_true, np.zeros_like(is_true)
    )

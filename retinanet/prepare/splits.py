"""Random splits of images without an official one.

A hash of the seed and a group's name is the group's position in 0..1: the lowest are test, then val, all others train.
If test or val then lacks a class, the group with that class at the lowest position is moved there, so that every class
is measured if possible. Adding groups never moves another group from train to val or test, or from val to test.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from retinanet.annotations.records import TEST, TRAIN, VAL

# Stands for any class: val and test need at least one object.
ANY_CLASS = ""
# Times the share of a split. Groups at higher positions are not moved there for a missing class: otherwise most images
# of a dataset with many rare classes would go to val and test.
MAX_SHARE_FACTOR = 2


class SplitCandidate(NamedTuple):
    """An image to assign to a split, with its group, which stays in one split, and the classes of its objects."""

    name: str
    group: str
    classes: frozenset[str]


def draw_splits(
    images: Sequence[SplitCandidate],
    val_share: float,
    test_share: float,
    seed: int,
    linked: Iterable[Sequence[str]] = (),
    covered: Mapping[str, Collection[str]] | None = None,
) -> dict[str, str]:
    """The split of each image, by its name.

    linked: names of images that must share a split; if their groups' splits differ, train wins over val over test.
    covered: the classes that a split has already, from other images.
    """
    classes: dict[str, set[str]] = {}
    for image in images:
        classes.setdefault(image.group, set()).update({*image.classes, ANY_CLASS} if image.classes else ())
    positions = {group: hash_position(group, seed) for group in classes}
    order = sorted(classes, key=lambda group: (positions[group], group))
    chosen = {group: _split_at(positions[group], val_share, test_share) for group in classes}
    covered = covered or {}
    for split, share, start in ((TEST, test_share, 0.0), (VAL, val_share, test_share)):
        if share:
            free = [group for group in order if chosen[group] not in (TEST, split)]
            present = set(covered.get(split, ())).union(*(classes[group] for group in order if chosen[group] == split))
            if present:
                present.add(ANY_CLASS)
            for group in _first_of_each(free, classes, present, positions, start + MAX_SHARE_FACTOR * share):
                chosen[group] = split
    _unite_linked(chosen, {image.name: image.group for image in images}, linked)
    return {image.name: chosen[image.group] for image in images}


def hash_position(name: str, seed: int) -> float:
    """A position in 0..1 that depends only on the name and the seed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _split_at(position: float, val_share: float, test_share: float) -> str:
    if position < test_share:
        return TEST
    return VAL if position < test_share + val_share else TRAIN


def _first_of_each(
    order: Sequence[str],
    classes: Mapping[str, set[str]],
    present: set[str],
    positions: Mapping[str, float],
    max_position: float,
) -> set[str]:
    """For each class that is not present, the first group that has it, if its position is below max_position."""
    first: dict[str, str] = {}
    for group in order:
        for name in classes[group] - present:
            if name == ANY_CLASS or positions[group] < max_position:
                first.setdefault(name, group)
    return set(first.values())


def _unite_linked(chosen: dict[str, str], group_of: Mapping[str, str], linked: Iterable[Sequence[str]]) -> None:
    leader = {group: group for group in chosen}

    def find_leader(group: str) -> str:
        while leader[group] != group:
            leader[group] = group = leader[leader[group]]
        return group

    for names in linked:
        for name in names[1:]:
            leader[find_leader(group_of[name])] = find_leader(group_of[names[0]])
    priority = (TEST, VAL, TRAIN)
    for group in chosen:
        head = find_leader(group)
        chosen[head] = max(chosen[head], chosen[group], key=priority.index)
    for group in chosen:
        chosen[group] = chosen[find_leader(group)]

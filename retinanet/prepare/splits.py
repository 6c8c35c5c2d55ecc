"""Which split an image belongs to, where the source does not say.

A group's split follows from the seed and its name alone: by a hash, it has a place in 0..1. Lowest are test, then val,
the rest is train. Where that leaves a class out of test or val, the group of the lowest place that has it is drawn,
too, so that every class is measured where it can be. So whatever groups are added, none of the old ones moves from
train to val or test, and none from val to test.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from retinanet.annotations.records import TEST, TRAIN, VAL

# Stands for any class: val and test need an object, whichever it is.
ANY = ""
# A class is given to a split only by groups below this many times the split's share, lest a set of many rare classes
# went to val and test nearly whole.
REACH = 2


class Drawn(NamedTuple):
    """An image to be given a split, with the group that is never divided and the classes on it."""

    name: str
    group: str
    classes: frozenset[str]


def draw_splits(
    images: Sequence[Drawn],
    val_share: float,
    test_share: float,
    seed: int,
    together: Iterable[Sequence[str]] = (),
    served: Mapping[str, Collection[str]] | None = None,
) -> dict[str, str]:
    """A split for each image's name.

    together: names that show the same and so may not be divided; of their groups' splits they get train before val
    before test. served: the classes that a split has from elsewhere.
    """
    classes: dict[str, set[str]] = {}
    for image in images:
        classes.setdefault(image.group, set()).update({*image.classes, ANY} if image.classes else ())
    places = {group: place(group, seed) for group in classes}
    order = sorted(classes, key=lambda group: (places[group], group))
    chosen = {group: _by_place(places[group], val_share, test_share) for group in classes}
    served = served or {}
    for split, share, start in ((TEST, test_share, 0.0), (VAL, val_share, test_share)):
        if share:
            free = [group for group in order if chosen[group] not in (TEST, split)]
            has = set(served.get(split, ())).union(*(classes[group] for group in order if chosen[group] == split))
            if has:
                has.add(ANY)
            for group in _first_of_each(free, classes, has, places, start + REACH * share):
                chosen[group] = split
    _join(chosen, {image.name: image.group for image in images}, together)
    return {image.name: chosen[image.group] for image in images}


def place(name: str, seed: int) -> float:
    """A place in 0..1 that a name has for a seed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _by_place(place: float, val_share: float, test_share: float) -> str:
    if place < test_share:
        return TEST
    return VAL if place < test_share + val_share else TRAIN


def _first_of_each(
    order: Sequence[str], classes: Mapping[str, set[str]], has: set[str], places: Mapping[str, float], reach: float
) -> set[str]:
    """For each class that is not in `has`, the first group with it, if its place is within reach."""
    first: dict[str, str] = {}
    for group in order:
        for name in classes[group] - has:
            if name == ANY or places[group] < reach:
                first.setdefault(name, group)
    return set(first.values())


def _join(chosen: dict[str, str], group_of: Mapping[str, str], together: Iterable[Sequence[str]]) -> None:
    leader = {group: group for group in chosen}

    def led_by(group: str) -> str:
        while leader[group] != group:
            leader[group] = group = leader[leader[group]]
        return group

    for names in together:
        for name in names[1:]:
            leader[led_by(group_of[name])] = led_by(group_of[names[0]])
    to_train = (TEST, VAL, TRAIN)
    for group in chosen:
        head = led_by(group)
        chosen[head] = max(chosen[head], chosen[group], key=to_train.index)
    for group in chosen:
        chosen[group] = chosen[led_by(group)]

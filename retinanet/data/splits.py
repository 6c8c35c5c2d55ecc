"""Which split a picture belongs to, where the source does not say."""

import hashlib
from collections.abc import Sequence

from retinanet.data.annotated import TEST, TRAIN, VAL

# Below this many groups, drawing each by its own hash may well leave a split empty.
FEW = 20


def split_by_name(
    groups: Sequence[Sequence[str]], val_share: float, test_share: float, seed: int, may_be_empty: bool = False
) -> dict[str, str]:
    """A split for each name; the names of one group (copies of one picture) get the same.

    With many groups the split follows from the seed and the group's first name alone, so adding pictures moves none.
    With few, quotas are filled in the order of those hashes; unless they may be empty, val and test get at least one
    each where their share is not 0 and train keeps one.
    """
    groups = [sorted(group) for group in groups]
    places = {group[0]: _place(group[0], seed) for group in groups}
    if len(groups) >= FEW:
        chosen = {name: _by_place(place, val_share, test_share) for name, place in places.items()}
    else:
        order = sorted(places, key=lambda name: (places[name], name))
        least = 0 if may_be_empty else 1
        test = _quota(test_share, len(order), least, len(order) - 1)
        val = _quota(val_share, len(order), least, len(order) - 1 - test)
        kinds = [TEST] * test + [VAL] * val + [TRAIN] * (len(order) - test - val)
        chosen = dict(zip(order, kinds, strict=True))
    return {name: chosen[group[0]] for group in groups for name in group}


def _place(name: str, seed: int) -> float:
    """A place in 0..1 that a name has for a seed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _by_place(place: float, val_share: float, test_share: float) -> str:
    if place < test_share:
        return TEST
    return VAL if place < test_share + val_share else TRAIN


def _quota(share: float, count: int, least: int, most: int) -> int:
    if share == 0:
        return 0
    return max(0, min(max(least, round(share * count)), most))

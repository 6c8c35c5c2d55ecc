"""Images that look the same: found by a hash of what is brighter than what, and held against each other."""

from collections.abc import Sequence

import numpy as np

from retinanet.images.reading import THUMBNAIL

# Of the 64 comparisons of neighbors, so many may differ; photographs of the same kind differ in 13 and more.
MAX_HASH_DISTANCE = 7
# What then has to correlate at least like this, thumbnail with thumbnail.
MIN_CORRELATION = 0.95
# Standard deviation in gray levels below which a thumbnail is a blank page, like any other.
MIN_CONTRAST = 3.0
# One look-up compares with so many at most: a thousand frames of a fixed camera are a chain, not a million pairs.
MAX_COMPARED = 50
BLOCKS = 4


def near_duplicates(thumbnails: Sequence[bytes]) -> list[tuple[int, int, float]]:
    """(i, j, likeness) of the pairs i < j that look the same; likeness is their correlation, at most 1.

    Resized, recompressed, slightly cropped or brightened copies are found, turned or mirrored ones not. Time is
    about linear in the number of thumbnails (as ImageFacts has them).
    """
    width, height = THUMBNAIL
    gray = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, height * width)
    select_examples = np.flatnonzero(gray.std(axis=1) >= MIN_CONTRAST)
    hashes = difference_hashes(gray[select_examples].reshape(-1, height, width))
    first, second = _candidates(hashes)
    likeness = _correlation(gray, select_examples[first], select_examples[second])
    alike = likeness >= MIN_CORRELATION
    pairs = zip(select_examples[first[alike]], select_examples[second[alike]], likeness[alike], strict=True)
    return [(int(i), int(j), float(c)) for i, j, c in pairs]


def difference_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """(N,) uint64 of thumbnails (N, 16, 18) uint8: whether each of 8 x 8 cells is brighter than its left neighbor."""
    cells = thumbnails.reshape(-1, 8, 2, 9, 2).astype(np.int32).sum(axis=(2, 4))
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(-1, 64)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def clusters(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The groups that pairs join, each sorted."""
    of: dict[int, list[int]] = {}
    for i, j in pairs:
        one, other = of.setdefault(i, [i]), of.setdefault(j, [j])
        if one is not other:
            small, large = sorted((one, other), key=len)
            large.extend(small)
            of.update(dict.fromkeys(small, large))
    return [sorted(group) for group in {id(group): group for group in of.values()}.values()]


def _candidates(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) and (P,) rows of the pairs whose hashes differ in at most MOST_DIFFERENT bits.

    Seven differences among four blocks of 16 bits leave a block with at most one: looked up with each bit turned.
    """
    masks = [0, *(1 << bit for bit in range(16))]
    blocks = hashes.view(np.uint16).reshape(-1, BLOCKS)
    found = []
    for block in range(BLOCKS):
        values = blocks[:, block]
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        for mask in masks:
            wanted = ranked ^ np.uint16(mask)
            start = np.searchsorted(ranked, wanted)
            end = np.searchsorted(ranked, wanted, side="right")
            if not mask:
                start = np.arange(len(ranked)) + 1  # each with those after it
            count = np.clip(end - start, 0, MAX_COMPARED)
            one = np.repeat(np.arange(len(ranked)), count)
            step = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
            i, j = order[one], order[np.repeat(start, count) + step]
            near = np.bitwise_count(hashes[i] ^ hashes[j]) <= MAX_HASH_DISTANCE
            found.append(np.sort(np.stack([i[near], j[near]], axis=1), axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _correlation(gray: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    likeness = np.empty(len(first))
    for start in range(0, len(first), 10_000):
        part = slice(start, start + 10_000)
        one, other = (_normed(gray[rows[part]]) for rows in (first, second))
        likeness[part] = (one * other).sum(axis=1)
    return likeness


def _normed(gray: np.ndarray) -> np.ndarray:
    centerd = gray - gray.mean(axis=1, keepdims=True)
    return centerd / np.linalg.norm(centerd, axis=1, keepdims=True)

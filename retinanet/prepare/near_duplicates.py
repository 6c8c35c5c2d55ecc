"""Near-duplicates: difference-hash candidates, verified by correlation of thumbnails."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from retinanet.images.reading import THUMBNAIL

T = TypeVar("T", int, str)

# Of 64 bits. Different photographs of the same kind differ in 13 bits and more.
MAX_HASH_DISTANCE = 7
# Of the thumbnails of a candidate pair.
MIN_CORRELATION = 0.95
# Standard deviation in gray levels; thumbnails below it are blank, and all blank images look the same.
MIN_CONTRAST = 3.0
# Pairs of an image per look-up: a thousand frames of a fixed camera become a chain, not a million pairs.
MAX_COMPARED = 50
BLOCKS = 4
CHUNK_PAIRS = 10_000  # correlated at once


def near_duplicates(thumbnails: Sequence[bytes]) -> list[tuple[int, int, float]]:
    """The pairs i < j of thumbnails that look the same, as (i, j, correlation).

    Resized, recompressed, slightly cropped and brightened copies are found, rotated and mirrored ones are not. The
    time is about linear in the number of thumbnails. They are those of ImageFacts.
    """
    width, height = THUMBNAIL
    gray = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, height * width)
    contrasting = np.flatnonzero(gray.std(axis=1) >= MIN_CONTRAST)
    hashes = difference_hashes(gray[contrasting].reshape(-1, height, width))
    first, second = _candidates(hashes)
    correlation = _correlation(gray, contrasting[first], contrasting[second])
    alike = correlation >= MIN_CORRELATION
    pairs = zip(contrasting[first[alike]], contrasting[second[alike]], correlation[alike], strict=True)
    return [(int(i), int(j), float(c)) for i, j, c in pairs]


def difference_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Hash thumbnails (N, 16, 18) uint8 to (N,) uint64: whether each of 8 x 8 cells is brighter than its left one."""
    cells = thumbnails.reshape(-1, 8, 2, 9, 2).astype(np.int32).sum(axis=(2, 4))
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(-1, 64)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def clusters(pairs: Iterable[tuple[T, T]]) -> list[list[T]]:
    """The connected components of the pairs, each sorted: a series of similar frames is one group."""
    group_of: dict[T, list[T]] = {}
    for i, j in pairs:
        first, second = group_of.setdefault(i, [i]), group_of.setdefault(j, [j])
        if first is not second:
            small, large = sorted((first, second), key=len)
            large.extend(small)
            group_of.update(dict.fromkeys(small, large))
    return [sorted(group) for group in {id(group): group for group in group_of.values()}.values()]


def _candidates(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (P,) and (P,) of the pairs whose hashes differ in at most MAX_HASH_DISTANCE bits.

    Of seven different bits in four blocks of 16, some block has at most one: look up each block with each bit flipped.
    """
    masks = [0, *(1 << bit for bit in range(16))]
    blocks = hashes.view(np.uint16).reshape(-1, BLOCKS)
    found = []
    for block in range(BLOCKS):
        values = blocks[:, block]
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        for mask in masks:
            flipped = ranked ^ np.uint16(mask)
            start = np.searchsorted(ranked, flipped)
            end = np.searchsorted(ranked, flipped, side="right")
            if not mask:
                start = np.arange(len(ranked)) + 1  # each with those after it
            count = np.clip(end - start, 0, MAX_COMPARED)
            row = np.repeat(np.arange(len(ranked)), count)
            step = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
            i, j = order[row], order[np.repeat(start, count) + step]
            near = np.bitwise_count(hashes[i] ^ hashes[j]) <= MAX_HASH_DISTANCE
            found.append(np.sort(np.stack([i[near], j[near]], axis=1), axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _correlation(gray: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    correlation = np.empty(len(first))
    for start in range(0, len(first), CHUNK_PAIRS):
        chunk = slice(start, start + CHUNK_PAIRS)
        left, right = (_normalized(gray[rows[chunk]]) for rows in (first, second))
        correlation[chunk] = (left * right).sum(axis=1)
    return correlation


def _normalized(gray: np.ndarray) -> np.ndarray:
    centered = gray - gray.mean(axis=1, keepdims=True)
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)

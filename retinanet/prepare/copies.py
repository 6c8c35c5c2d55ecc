"""Duplicates: files with the same bytes, and images that look the same."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from retinanet.errors import AnnotationError, first_of
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.near_duplicates import near_duplicates


class Pair(NamedTuple):
    """Two images that look the same."""

    first: CheckedImage
    second: CheckedImage


class Copies(NamedTuple):
    """Groups of two or more files with the same bytes, and pairs of different files that look the same."""

    same: list[list[CheckedImage]]
    near: list[Pair]

    def linked(self, with_near: bool) -> list[list[CheckedImage]]:
        """Groups of images that must share a split."""
        return self.same + [[pair.first, pair.second] for pair in self.near if with_near]


def find_copies(images: Sequence[CheckedImage]) -> Copies:
    """Compare bytes and thumbnails. Of the files with the same bytes, only the first is compared by its look."""
    groups: dict[str, list[CheckedImage]] = {}
    for image in images:
        groups.setdefault(image.facts.sha256, []).append(image)
    distinct = [group[0] for group in groups.values()]
    pairs = near_duplicates([image.facts.thumbnail for image in distinct])
    near = [Pair(distinct[i], distinct[j]) for i, j, _ in pairs]
    return Copies([group for group in groups.values() if len(group) > 1], near)


def refuse_leaks(same: Iterable[Sequence[CheckedImage]]) -> None:
    """Raise AnnotationError, with the files, if files with the same bytes are in different official splits."""
    leaks = [group for group in same if len({image.source.split for image in group} - {None}) > 1]
    if leaks:
        files = [" = ".join(f"{image.source.file} ({image.source.split})" for image in group) for group in leaks]
        raise AnnotationError(
            f"{len(leaks)} images are in two official splits: {first_of(files, separator='; ')}; "
            "remove each from one split"
        )

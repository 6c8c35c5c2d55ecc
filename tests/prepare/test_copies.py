from pathlib import Path

import pytest
from PIL import Image

from retinanet.annotations.records import SourceImage
from retinanet.errors import AnnotationError
from retinanet.images.reading import ImageFacts
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.copies import find_copies, refuse_leaks


def image(name: str, sha: str, look: int = 0, split: str | None = None) -> CheckedImage:
    """look: the number of one of several different thumbnails; 0 is blank."""
    thumbnail = Image.effect_mandelbrot((18, 16), (-2, -1.5, look / 4, 1.5), 100).tobytes() if look else bytes(288)
    return CheckedImage(SourceImage(Path(name), (), split=split), ImageFacts(64, 48, sha, (), thumbnail), ())


def names(groups) -> list[list[str]]:
    return [[one.source.file.name for one in group] for group in groups]


def test_find_copies_separates_same_bytes_and_same_look():
    images = [image("a", "1", 2), image("b", "2"), image("c", "1", 2), image("d", "3", 2), image("e", "4")]
    copies = find_copies(images)
    assert names(copies.same) == [["a", "c"]]
    assert names(copies.near) == [["a", "d"]]
    assert names(copies.linked(with_near=True)) == [["a", "c"], ["a", "d"]]
    assert names(copies.linked(with_near=False)) == [["a", "c"]]


def test_the_same_bytes_in_two_official_splits_are_refused():
    same = find_copies([image("a", "1", split="train"), image("b", "1", split="test")]).same
    with pytest.raises(AnnotationError, match=r"1 images are in two official splits: a \(train\) = b \(test\)"):
        refuse_leaks(same)


def test_copies_in_one_split_or_without_split_are_accepted():
    refuse_leaks(find_copies([image("a", "1", split="train"), image("b", "1", split="train")]).same)
    refuse_leaks(find_copies([image("a", "1", split="train"), image("b", "1")]).same)

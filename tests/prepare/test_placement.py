from pathlib import Path

from retinanet.annotations.records import Box, SourceImage
from retinanet.images.reading import ImageFacts
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import assign_splits, settle_official_splits
from retinanet.prepare.splits import place

BOX = Box("cat", (1.0, 2.0, 30.0, 40.0))


def image(name: str, split: str | None = None, size=(64, 48), boxes=(BOX,), group=None) -> CheckedImage:
    source = SourceImage(Path(name), boxes, split=split, group=group)
    return CheckedImage(source, ImageFacts(*size, name, ()), boxes)


def some(split: str | None, count: int = 3) -> list[CheckedImage]:
    return [image(f"{split}{n}", split) for n in range(count)]


def splits(images: list[CheckedImage]) -> dict[str, str | None]:
    return {one.source.file.name: one.source.split for one in images}


def settle(images):
    return settle_official_splits(images, [], 0.15, 0)


def assign(images, together=(), tile_size=0, **changed):
    settings = {"val_share": 0.15, "test_share": 0.2, "seed": 0, "tile_overlap": 0.25, "min_visible": 0.4} | changed
    return assign_splits(images, together, tile_size=tile_size, **settings)


def test_complete_official_splits_are_left_alone():
    images = some("train") + some("val") + some("test")
    assert settle(images) == (images, [])


def test_without_any_split_nothing_is_settled():
    assert settle(some(None)) == (some(None), [])


def test_val_serves_as_test_and_a_part_of_train_as_val():
    settled, remarks = settle(some("train", 30) + some("val"))
    found = splits(settled)
    assert {found[f"val{n}"] for n in range(3)} == {"test"}
    assert {found[f"train{n}"] for n in range(30)} == {"train", "val"}
    assert len(remarks) == 2 and "15% of train are held out as val" in remarks[1]


def test_a_part_of_train_serves_as_val():
    settled, remarks = settle(some("train", 30) + some("test"))
    assert {split for split in splits(settled).values()} == {"train", "val", "test"}
    assert len(remarks) == 1


def test_one_split_alone_is_none():
    for split in ("train", "test"):
        settled, remarks = settle(some(split))
        assert set(splits(settled).values()) == {None}
        assert remarks == [f"the source has no split but {split}: divided anew"]


def test_images_of_no_official_split_are_left_out_and_counted():
    settled, remarks = settle(some("train") + some("val") + some("test") + some(None, 2))
    assert len(settled) == 9
    assert remarks == ["2 images are in none of the official splits and are left out"]


def test_a_group_in_two_official_splits_is_said():
    images = [*some("val"), image("a", "train", group="p7"), image("b", "test", group="p7")]
    assert "the official splits divide 1 groups, which makes test figures too good: p7" in settle(images)[1]


def test_look_alikes_in_train_are_not_divided_between_train_and_val():
    images = some("train", 40) + some("test")
    settled, _ = settle_official_splits(images, [images[:40]], 0.15, 0)
    assert len({split for name, split in splits(settled).items() if name.startswith("train")}) == 1


def test_whole_images_are_given_a_split():
    parts = assign(some(None, 40))
    assert {part.split for part in parts} == {"train", "val", "test"}
    assert all(part.region is None and part.boxes == (BOX,) for part in parts)


def test_a_large_image_is_divided_among_the_splits():
    parts = assign([image("a", size=(1000, 100))], tile_size=400)
    assert {part.split for part in parts} == {"train", "val", "test"}
    assert all(part.region.width <= 400 for part in parts)


def test_a_large_image_of_an_official_split_stays_in_it():
    parts = assign([image("a", "test", size=(1000, 100))], tile_size=400)
    assert {part.split for part in parts} == {"test"}
    assert sum(part.region.width for part in parts) == 1000


def test_a_large_image_serves_its_classes_to_val_and_test():
    """Then the one small image is free to go where its name says: to train, with such a seed."""
    seed = next(seed for seed in range(99) if place("small", seed) > 0.5)
    everywhere = tuple(Box("cat", (x, 10.0, x + 20.0, 30.0)) for x in range(0, 1000, 20))
    large, small = image("large", size=(1000, 100), boxes=everywhere), image("small")
    parts = assign([large, small], tile_size=400, seed=seed)
    assert {part.split for part in parts if part.image is small} == {"train"}

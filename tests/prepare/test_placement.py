from pathlib import Path

from retinanet.annotations.records import Box, SourceImage
from retinanet.images.reading import ImageFacts
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import assign_splits, bands_remark, complete_official_splits
from retinanet.prepare.splits import hash_position

BOX = Box("cat", (1.0, 2.0, 30.0, 40.0))


def image(name: str, split: str | None = None, size=(64, 48), boxes=(BOX,), group=None) -> CheckedImage:
    source = SourceImage(Path(name), boxes, split=split, group=group)
    return CheckedImage(source, ImageFacts(*size, name, ()), boxes)


def images_in(split: str | None, count: int = 3) -> list[CheckedImage]:
    return [image(f"{split}{n}", split) for n in range(count)]


def splits(images: list[CheckedImage]) -> dict[str, str | None]:
    return {image.source.file.name: image.source.split for image in images}


def complete(images):
    return complete_official_splits(images, [], 0.15, 0)


def assign(images, linked=(), tile_size=0, **changed):
    settings = {"val_share": 0.15, "test_share": 0.2, "seed": 0, "tile_overlap": 0.25, "min_visible": 0.4} | changed
    return assign_splits(images, linked, tile_size=tile_size, **settings)


def test_complete_official_splits_are_unchanged():
    images = images_in("train") + images_in("val") + images_in("test")
    assert complete(images) == (images, [])


def test_without_official_splits_nothing_changes():
    assert complete(images_in(None)) == (images_in(None), [])


def test_without_test_val_becomes_test_and_a_share_of_train_val():
    completed, remarks = complete(images_in("train", 30) + images_in("val"))
    found = splits(completed)
    assert {found[f"val{n}"] for n in range(3)} == {"test"}
    assert {found[f"train{n}"] for n in range(30)} == {"train", "val"}
    assert len(remarks) == 2 and "15% of train is held out as val" in remarks[1]


def test_without_val_a_share_of_train_becomes_val():
    completed, remarks = complete(images_in("train", 30) + images_in("test"))
    assert {split for split in splits(completed).values()} == {"train", "val", "test"}
    assert len(remarks) == 1


def test_a_single_official_split_is_ignored():
    for split in ("train", "test"):
        completed, remarks = complete(images_in(split))
        assert set(splits(completed).values()) == {None}
        assert remarks == [f"the only official split is {split}: it is ignored"]


def test_images_outside_of_the_official_splits_are_left_out_and_counted():
    completed, remarks = complete(images_in("train") + images_in("val") + images_in("test") + images_in(None, 2))
    assert len(completed) == 9
    assert remarks == ["2 images are in no official split and are left out"]


def test_a_group_in_two_official_splits_adds_a_remark():
    images = [*images_in("val"), image("a", "train", group="p7"), image("b", "test", group="p7")]
    assert "the official splits divide 1 groups, so test metrics are too optimistic: p7" in complete(images)[1]


def test_look_alikes_in_train_are_not_split_into_train_and_val():
    images = images_in("train", 40) + images_in("test")
    completed, _ = complete_official_splits(images, [images[:40]], 0.15, 0)
    assert len({split for name, split in splits(completed).items() if name.startswith("train")}) == 1


def test_images_that_are_not_cut_get_a_split():
    parts = assign(images_in(None, 40))
    assert {part.split for part in parts} == {"train", "val", "test"}
    assert all(part.region is None and part.boxes == (BOX,) for part in parts)


def test_a_large_image_is_divided_among_the_splits():
    parts = assign([image("a", size=(1000, 100))], tile_size=400)
    assert {part.split for part in parts} == {"train", "val", "test"}
    assert all(part.region.width <= 400 for part in parts)


def test_a_large_image_stays_in_its_official_split():
    parts = assign([image("a", "test", size=(1000, 100))], tile_size=400)
    assert {part.split for part in parts} == {"test"}
    assert sum(part.region.width for part in parts) == 1000


def test_large_images_of_one_group_share_a_split():
    images = [image(f"{n}", size=(800, 800), group=f"scene {n // 3}") for n in range(18)]
    parts = assign(images, tile_size=400)
    splits_of = {f"scene {n}": {p.split for p in parts if p.image.source.group == f"scene {n}"} for n in range(6)}
    assert all(len(found) == 1 for found in splits_of.values())
    assert set.union(*splits_of.values()) == {"train", "val", "test"}
    assert len(parts) > 18 * 3 and all(part.region.width <= 400 for part in parts)


def test_large_images_that_look_alike_share_a_split():
    images = [image(f"{n}", size=(800, 800)) for n in range(9)]
    parts = assign(images, [images[:2], images[2:4]], tile_size=400)
    for pair in (("0", "1"), ("2", "3")):
        assert len({part.split for part in parts if part.image.source.file.name in pair}) == 1
    assert {part.split for part in parts if part.image is images[8]} == {"train", "val", "test"}


def test_divided_images_are_named():
    parts = assign([image("scene", size=(1000, 100)), image("small")], tile_size=400)
    (remark,) = bands_remark(parts)
    assert remark.startswith("1 large images are divided in bands") and remark.endswith(
        "groups of images to draw from: scene"
    )


def test_with_ten_images_none_is_divided():
    images = [image(f"{n}", size=(800, 800)) for n in range(10)]
    parts = assign(images, tile_size=400)
    assert bands_remark(parts) == []
    assert all(len({part.split for part in parts if part.image is one}) == 1 for one in images)
    assert {part.split for part in parts} == {"train", "val", "test"}
    assert len(parts) > len(images)


def test_classes_of_a_divided_image_are_covered_in_val_and_test():
    """With this seed, the hash position of the small image is in train, and no split lacks its class."""
    seed = next(seed for seed in range(99) if hash_position("small", seed) > 0.5)
    everywhere = tuple(Box("cat", (x, 10.0, x + 20.0, 30.0)) for x in range(0, 1000, 20))
    large, small = image("large", size=(1000, 100), boxes=everywhere), image("small")
    parts = assign([large, small], tile_size=400, seed=seed)
    assert {part.split for part in parts if part.image is small} == {"train"}

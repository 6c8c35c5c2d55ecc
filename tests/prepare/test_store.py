from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retinanet.annotations.records import Box, SourceDataset, SourceImage
from retinanet.files import sha256_of
from retinanet.images.reading import inspect_image
from retinanet.images.tiles import Region
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import Part
from retinanet.prepare.store import numbered_categories, split_datasets, split_statistics, store_tiles

CAT, DOG = Box("cat", (1.0, 2.0, 30.0, 40.0)), Box("dog", (0.0, 0.0, 64.0, 48.0), iscrowd=True, area=99.0)


def checked(path: Path, boxes=(CAT,), source_id=None) -> CheckedImage:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        column = np.arange(64, dtype=np.uint8)
        Image.fromarray(np.tile(column[None, :, None], (48, 1, 3))).save(path)
    return CheckedImage(SourceImage(path, boxes, source_id=source_id), inspect_image(path), boxes)


def test_images_that_are_not_cut_are_not_copied(tmp_path):
    image = checked(tmp_path / "a.png")
    (stored,) = store_tiles([Part(image, "train", (CAT,))], tmp_path / "tiles", Path("final"))
    assert stored.file_name == str(tmp_path / "a.png")
    assert stored.sha256 == sha256_of(tmp_path / "a.png")
    assert list((tmp_path / "tiles").iterdir()) == []


def test_tiles_contain_the_pixels_of_their_region(tmp_path):
    image = checked(tmp_path / "a.png")
    parts = [Part(image, "val", (), Region(10, 8, 30, 48)), Part(image, "train", (), Region(0, 0, 10, 48))]
    stored = store_tiles(parts, tmp_path / "tiles", Path("final"))
    assert [one.file_name for one in stored] == ["final/a_val_00010_00008.png", "final/a_train_00000_00000.png"]
    tile = np.asarray(Image.open(tmp_path / "tiles/a_val_00010_00008.png"))
    assert tile.shape == (40, 20, 3)
    assert tile[0, :, 0].tolist() == list(range(10, 30))
    assert stored[0].sha256 == sha256_of(tmp_path / "tiles/a_val_00010_00008.png")


def test_tile_names_are_unique_and_short(tmp_path):
    paths = [tmp_path / "one/a.png", tmp_path / "two/a.png", tmp_path / f"{'ä' * 120}.png"]
    parts = [Part(checked(path), "train", (), Region(0, 0, 10, 10)) for path in paths]
    names = [Path(one.file_name).name for one in store_tiles(parts, tmp_path / "tiles", Path("final"))]
    assert len(set(names)) == 3
    assert all((tmp_path / "tiles" / name).is_file() for name in names)
    assert max(len(name.encode()) for name in names) < 100


def stored(tmp_path, *parts: Part):
    return store_tiles(list(parts), tmp_path / "tiles", Path("final"))


def test_image_ids_follow_file_names_and_labels_follow_category_ids(tmp_path):
    parts = [Part(checked(tmp_path / "b.png"), "train", (CAT, DOG)), Part(checked(tmp_path / "a.png"), "test", ())]
    datasets = split_datasets(stored(tmp_path, *parts), {"dog": 3, "cat": 90})
    assert [image.id for image in datasets["train"].images] == [2]
    assert [image.id for image in datasets["test"].images] == [1]
    assert all(one.class_names == ("dog", "cat") and one.category_ids == (3, 90) for one in datasets.values())
    objects = datasets["train"].objects[2]
    assert objects.labels.tolist() == [1, 0]
    assert objects.iscrowd.tolist() == [False, True]
    assert objects.areas.tolist() == [29 * 38, 99.0]
    assert datasets["test"].objects[1].boxes_xyxy.shape == (0, 4)
    assert datasets["val"].images == ()


@pytest.mark.parametrize(("ids", "expected"), [((50, 7), [50, 7]), ((50, 50), [1, 2]), ((50, None), [1, 2])])
def test_source_image_ids_are_kept_if_they_are_distinct(tmp_path, ids, expected):
    parts = [
        Part(checked(tmp_path / f"{n}.png", source_id=source_id), "train", ())
        for n, source_id in zip("ab", ids, strict=True)
    ]
    images = split_datasets(stored(tmp_path, *parts), {})["train"].images
    assert [image.id for image in images] == expected


def test_a_tile_has_the_size_of_its_region(tmp_path):
    parts = [Part(checked(tmp_path / "a.png"), "train", (), Region(10, 8, 30, 48))]
    (image,) = split_datasets(stored(tmp_path, *parts), {})["train"].images
    assert (image.width, image.height) == (20, 40)


def test_categories_keep_source_ids_or_are_numbered_by_name(tmp_path):
    image = checked(tmp_path / "a.png", (CAT, DOG))
    source, parts = SourceDataset("voc", [image.source]), [Part(image, "train", ())]
    assert numbered_categories(source, parts) == {"cat": 1, "dog": 2}
    assert numbered_categories(replace(source, class_names=["bird"]), parts) == {"bird": 1, "cat": 2, "dog": 3}
    assert numbered_categories(replace(source, category_ids={"dog": 18}), parts) == {"dog": 18}


def test_split_statistics_counts_images_negatives_boxes_and_crowds(tmp_path):
    crowd = DOG._replace(iscrowd=True)
    parts = [
        Part(checked(tmp_path / "a.png"), "train", (CAT, CAT)),
        Part(checked(tmp_path / "b.png"), "train", (crowd,)),
    ]
    dataset = split_datasets(stored(tmp_path, *parts), {"cat": 1, "dog": 2})["train"]
    assert split_statistics(dataset) == {"images": 2, "negatives": 1, "boxes": {"cat": 2, "dog": 0}, "crowds": 1}


def test_tiles_are_of_the_group_of_their_image_or_of_the_image(tmp_path):
    region, image, in_scene = Region(0, 0, 10, 10), checked(tmp_path / "a.png"), checked(tmp_path / "b.png")
    in_scene = replace(in_scene, source=replace(in_scene.source, group="scene 1"))
    parts = [
        Part(image, "test", (), region),
        Part(in_scene, "test", (), region),
        Part(checked(tmp_path / "c.png"), "test", ()),
    ]
    datasets = split_datasets(stored(tmp_path, *parts), {"cat": 1})
    groups = {Path(image.file_name).name[0]: image.group for image in datasets["test"].images}
    assert groups == {"a": image.name, "b": "scene 1", "c": None}

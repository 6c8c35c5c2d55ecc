from pathlib import Path

from retinanet.annotations.records import (
    Box,
    SourceDataset,
    SourceImage,
    image_size,
    rename_classes,
    split_of_folders,
    splits_agree,
)

SQUARE = (0.0, 0.0, 9.0, 9.0)


def test_renaming_merges_classes_and_keeps_the_lowest_id():
    boxes = (Box("Alive", SQUARE), Box("Dead", SQUARE), Box("Rock", SQUARE))
    source = SourceDataset("coco", [SourceImage(Path("a.png"), boxes)], {"Dead": 7, "Alive": 3, "Rock": 5})
    renamed = rename_classes(source, {"Alive": "Tree", "Dead": "Tree"})
    assert [box.class_name for box in renamed.images[0].boxes] == ["Tree", "Tree", "Rock"]
    assert renamed.category_ids == {"Tree": 3, "Rock": 5}
    assert renamed.remarks == []


def test_renaming_an_unknown_class_adds_a_remark():
    renamed = rename_classes(SourceDataset("yolo", class_names=["cat"]), {"cat": "pet", "dgo": "pet"})
    assert renamed.class_names == ["pet"]
    assert renamed.remarks == ["prepare.rename_classes: there is no class dgo"]


def test_split_of_folders_takes_the_innermost_folder():
    assert split_of_folders(("train", "set2", "Valid")) == "val"
    assert split_of_folders(("images", "training_day")) is None


def test_image_size_needs_positive_integers():
    assert image_size(64, 48) == (64, 48)
    assert [image_size(*sides) for sides in ((0, 48), (64, -1), (64.0, 48), (None, 48), ("64", "48"))] == [None] * 5


def test_a_file_without_a_split_agrees_with_every_split():
    assert splits_agree("train", "train") and splits_agree(None, "val") and splits_agree("val", None)
    assert not splits_agree("train", "val")

from pathlib import Path

from retinanet.annotations.records import Box, SourceDataset, SourceImage, rename_classes, split_of_folders

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

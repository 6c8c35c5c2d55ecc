import pytest
import yaml
from support.prepare_workspace import save_images

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.yolo import read_yolo
from retinanet.annotations.yolo_settings import find_class_file
from retinanet.errors import AnnotationError

NAMES = "names: [cat, dog]\n"


def read(root, settings: str):
    """An image without labels, with this data.yaml."""
    save_images(root / "images", {"a.png": []})
    (root / "data.yaml").write_text(settings)
    return read_yolo(SourceFiles(root))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("names: []", r"names is \[\]"),
        ("names: {1: cat, 2: dog}", "map 0, 1, 2 .* to names"),
        ("names: [cat, cat]", "classes 0 and 1 are both 'cat'"),
        ("names: [cat, '']", "class 1 has class name ''"),
        ("names: [cat\n", "broken YAML"),
        ("names: [cat]\ntrain: {a: b}", "{'a': 'b'} is not a folder"),
        ("names: [cat]\ntrain: nowhere", "'nowhere' does not exist"),
        ("names: [cat]\ntrain: ../train/images", "'../train/images' does not exist"),
        (f"names: [cat]\ntrain: {'a' * 5000}", "does not exist"),
    ],
)
def test_invalid_settings_are_errors(tmp_path, names, message):
    with pytest.raises(AnnotationError, match=rf"data\.yaml: .*{message}"):
        read(tmp_path, names)


def test_names_may_be_a_mapping_of_numbers(tmp_path):
    assert read(tmp_path, "names: {0: cat, 1: dog, 2: 7}").class_names == ["cat", "dog", "7"]


def test_names_are_words_as_they_are_written(tmp_path):
    assert read(tmp_path, "names: [yes, no, 007, 2020-13-45]").class_names == ["yes", "no", "007", "2020-13-45"]


def test_a_split_whose_folder_is_missing_is_said(tmp_path):
    """Roboflow names test even if it is empty."""
    save_images(tmp_path, {"train/images/a.png": [], "other/b.png": []})
    (tmp_path / "data.yaml").write_text(NAMES + "train: ../train/images\ntest: ../test/images\n")
    found = read_yolo(SourceFiles(tmp_path))
    assert [image.file.name for image in found.images] == ["a.png"]
    assert "test is '../test/images', which does not exist" in found.remarks[0]
    assert "1 images are in no split of" in found.remarks[1]


def test_two_class_files_must_agree(tmp_path):
    (tmp_path / "a.yaml").write_text("names: [cat]")
    (tmp_path / "b.yaml").write_text("names: [cat]")
    assert find_class_file(SourceFiles(tmp_path)) == tmp_path / "a.yaml"
    (tmp_path / "b.yaml").write_text("names: [dog]")
    with pytest.raises(AnnotationError, match="declare different classes"):
        find_class_file(SourceFiles(tmp_path))


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        ("{split}/images", {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}),
        ("images/{split}", {"path": "../datasets/cells", "train": "images/train", "val": "images/valid"}),
        ("images/{split}", {"path": "/home/someone/cells", "train": "images/train", "valid": ["images/valid"]}),
        ("images/{split}", {}),
    ],
)
def test_official_splits_are_read(tmp_path, layout, settings):
    """Like Roboflow and Ultralytics, with paths on the author's machine; or by the names of the folders alone."""
    for split in ("train", "valid", "test"):
        folder = tmp_path / layout.format(split=split)
        save_images(folder, {f"{split}.png": []})
        labels = folder.parent / "labels" if folder.name == "images" else tmp_path / "labels" / split
        labels.mkdir(parents=True)
        (labels / f"{split}.txt").write_text("0 .5 .5 .5 .5")
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": ["cat"], **settings}))
    found = {p.file.stem: (p.split, len(p.boxes)) for p in read_yolo(SourceFiles(tmp_path)).images}
    assert found["train"] == ("train", 1)
    assert found["valid"] == ("val", 1)
    assert found.get("test", ("test", 1)) == ("test", 1)


def test_splits_may_be_image_lists(tmp_path):
    save_images(tmp_path / "images", {"a.png": [], "b.png": []})
    (tmp_path / "train.txt").write_text("./images/a.png\nimages/gone.png\n")
    (tmp_path / "val.txt").write_text("images/b.png\n")
    (tmp_path / "data.yaml").write_text(NAMES + "train: train.txt\nval: val.txt\n")
    found = read_yolo(SourceFiles(tmp_path))
    assert {image.file.name: image.split for image in found.images} == {"a.png": "train", "b.png": "val"}
    assert found.skipped[0].file.endswith("gone.png")


def test_an_image_in_two_splits_is_refused(tmp_path):
    save_images(tmp_path / "images", {"a.png": [], "one/b.png": []})
    (tmp_path / "data.yaml").write_text(NAMES + "train: images\nval: images/one\n")
    with pytest.raises(AnnotationError, match="is in train and in val"):
        read_yolo(SourceFiles(tmp_path))


def test_val_that_is_the_train_folder_is_no_official_split(tmp_path):
    """The first data.yaml that people copy."""
    save_images(tmp_path / "images", {"a.png": []})
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "data.yaml").write_text(NAMES + "train: images\nval: images\n")
    found = read_yolo(SourceFiles(tmp_path))
    assert [image.split for image in found.images] == ["train"]
    assert "val has the same images as train, so it is not an official split" in found.remarks[0]


def test_cvat_subsets_are_splits(tmp_path):
    """YOLO 1.1: obj.names, a list and a folder for each subset, with paths in `data`."""
    for folder, name in (("obj_train_data", "a"), ("obj_valid_data", "b")):
        save_images(tmp_path / folder, {f"{name}.png": []})
        (tmp_path / folder / f"{name}.txt").write_text("0 .5 .5 .5 .5")
    (tmp_path / "obj.names").write_text("cat\n")
    assert [image.split for image in read_yolo(SourceFiles(tmp_path)).images] == ["train", "val"]
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.png\n")
    (tmp_path / "valid.txt").write_text("data/obj_valid_data/b.png\n")
    assert [image.split for image in read_yolo(SourceFiles(tmp_path)).images] == ["train", "val"]


def test_windows_paths_are_read(tmp_path):
    save_images(tmp_path / "images", {"train/a.png": [], "val/b.png": []})
    text = "path: C:\\sets\\cats\ntrain: .\\images\\train\\\nvalidation: .\\images\\val\\\n"
    (tmp_path / "data.yaml").write_text(NAMES + text)
    assert [image.split for image in read_yolo(SourceFiles(tmp_path)).images] == ["train", "val"]


def test_the_longest_of_class_lists_that_begin_alike_counts(tmp_path):
    """labelImg writes classes in each folder as they occur."""
    for folder, names in (("a", "cat\n"), ("b", "cat\ndog\n")):
        save_images(tmp_path / folder, {f"{folder}.png": []})
        (tmp_path / folder / "classes.txt").write_text(names)
    assert find_class_file(SourceFiles(tmp_path)) == tmp_path / "b/classes.txt"
    (tmp_path / "a/classes.txt").write_text("dog\n")
    with pytest.raises(AnnotationError, match="declare different classes"):
        find_class_file(SourceFiles(tmp_path))

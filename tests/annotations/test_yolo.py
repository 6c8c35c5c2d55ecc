import pytest
from support.prepare_workspace import save_images, write_yolo

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.yolo import find_yolo_files, read_yolo
from retinanet.errors import AnnotationError

NAMES = "names: [cat, dog]\n"


def one_line(root, line: str, names: str = NAMES):
    """An image 64 x 48 with one line of labels."""
    save_images(root / "images", {"a.png": []})
    (root / "labels").mkdir()
    (root / "labels/a.txt").write_text(line)
    (root / "data.yaml").write_text(names)
    return read_yolo(SourceFiles(root))


def test_relative_coordinates_become_pixels(tmp_path):
    found = one_line(tmp_path, "1 0.5 0.25 0.5 0.5\n\n")
    (box,) = found.images[0].boxes
    assert (box.class_name, box.xyxy) == ("dog", (16, 0, 48, 24))
    assert found.class_names == ["cat", "dog"]


def test_rounded_coordinates_become_whole_pixels(tmp_path):
    """7 px of 64 is 0.109375, and 0.1094 with four digits, which would be 7.0016 px."""
    objects = {"a.png": [("cat", (7, 11, 20, 35))], "b.png": [("cat", (0, 0, 64, 48))]}
    write_yolo(tmp_path, objects, digits=4)
    assert [p.boxes[0].xyxy for p in read_yolo(SourceFiles(tmp_path)).images] == [(7, 11, 20, 35), (0, 0, 64, 48)]


def test_fractions_of_a_pixel_are_kept(tmp_path):
    (box,) = one_line(tmp_path, "0 0.503906 0.5 0.5 0.5").images[0].boxes  # a quarter pixel of 64 right
    assert box.xyxy == pytest.approx((16.25, 12, 48.25, 36), abs=1e-4)
    assert box.xyxy[0] != 16.0


def test_a_polygon_becomes_its_bounding_box(tmp_path):
    (box,) = one_line(tmp_path, "0 0.25 0.25 0.75 0.25 0.5 0.75").images[0].boxes
    assert box.xyxy == (16, 12, 48, 36)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 .5 .5 .1 .1", "has class 2; it must be 0 to 1"),
        ("-1 .5 .5 .1 .1", "has class -1"),
        ("0.5 .5 .5 .1 .1", "has class 0.5"),
        ("cat .5 .5 .1 .1", "needs a class and four numbers"),
        ("0 .5 .5 .1", "has 3 numbers"),
        ("0 .5 .5 .1 .1 .9", "has 5 numbers"),
    ],
)
def test_invalid_lines_are_errors(tmp_path, line, message):
    with pytest.raises(AnnotationError, match=rf"a\.txt: line 1 .*{message}"):
        one_line(tmp_path, line)


def test_a_yaml_file_may_be_in_capitals_and_masks_are_no_images(tmp_path):
    save_images(tmp_path, {"images/a.png": [], "masks/a.png": []})
    (tmp_path / "DATA.YAML").write_text(NAMES)
    (image,) = read_yolo(SourceFiles(tmp_path)).images
    assert image.file.parent.name == "images"


def test_classes_txt_is_read_without_a_yaml_file(tmp_path):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "a.txt").write_text("1 .5 .5 .5 .5")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (image,) = read_yolo(SourceFiles(tmp_path)).images
    assert image.boxes[0].class_name == "dog"


def test_missing_class_names_are_an_error(tmp_path):
    save_images(tmp_path, {"a.png": []})
    with pytest.raises(AnnotationError, match="with the names of the YOLO classes"):
        read_yolo(SourceFiles(tmp_path))


def test_an_image_without_a_label_file_has_no_objects(tmp_path):
    save_images(tmp_path / "images", {"b.png": []})
    found = one_line(tmp_path, "0 .5 .5 .1 .1")
    assert [len(image.boxes) for image in found.images] == [1, 0]
    assert found.remarks == ["1 images have no label file and count as images without objects"]


def test_a_label_file_without_an_image_is_skipped(tmp_path):
    (tmp_path / "labels").mkdir(parents=True)
    (tmp_path / "labels/ghost.txt").write_text("0 .5 .5 .1 .1")
    save_images(tmp_path / "images", {"a.png": []})
    (tmp_path / "data.yaml").write_text(NAMES)
    (skipped,) = read_yolo(SourceFiles(tmp_path)).skipped
    assert skipped.file.endswith("ghost.txt")


def test_label_folders_of_any_name_are_found(tmp_path):
    save_images(tmp_path / "img", {"train/a.png": [], "val/a.png": []})
    for split, label in (("train", 0), ("val", 1)):
        (tmp_path / "txt" / split).mkdir(parents=True)
        (tmp_path / "txt" / split / "a.txt").write_text(f"{label} .5 .5 .5 .5")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = read_yolo(SourceFiles(tmp_path))
    assert [(image.split, image.boxes[0].class_name) for image in found.images] == [("train", "cat"), ("val", "dog")]


def test_key_points_after_the_box_are_not_a_polygon(tmp_path):
    line = "0 0.5 0.5 0.2 0.2 0.45 0.45 2 0.55 0.55 2"
    (box,) = one_line(tmp_path / "a", line, NAMES + "kpt_shape: [2, 3]\n").images[0].boxes
    assert box.xyxy == pytest.approx((25.6, 19.2, 38.4, 28.8))
    with pytest.raises(AnnotationError, match=r"if they are key points, add kpt_shape"):
        one_line(tmp_path / "b", line)


def test_text_files_without_an_image_are_not_labels(tmp_path):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "classes.txt").write_text("cat\n")
    assert find_yolo_files(SourceFiles(tmp_path)) == []


def test_a_damaged_image_is_not_an_error_of_its_label(tmp_path):
    one_line(tmp_path, "0 .5 .5 .5 .5")
    (tmp_path / "images/a.png").write_bytes(b"")
    assert len(read_yolo(SourceFiles(tmp_path)).images) == 1

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.cvat_xml import find_cvat_files, is_cvat_video, read_cvat
from retinanet.annotations.files import SourceFiles
from retinanet.errors import AnnotationError


def image(name: str, shapes: str = "", extra: str = "") -> str:
    return f'<image id="0" name="{name}" width="64" height="48" {extra}>{shapes}</image>'


def read(root, *images: str, column: str = ""):
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{''.join(images)}</annotations>")
    return read_cvat(SourceFiles(root), column)


@pytest.mark.parametrize(
    ("shape", "xyxy"),
    [
        ('<box label="cat" xtl="1" ytl="2" xbr="30" ybr="40"/>', (1, 2, 30, 40)),
        ('<box label="cat" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>', (15, 5, 25, 25)),
        ('<polygon label="cat" points="1,2;9,4;5,8"/>', (1, 2, 9, 8)),
        ('<ellipse label="cat" cx="10" cy="20" rx="5" ry="6"/>', (5, 14, 15, 26)),
        ('<ellipse label="cat" cx="10" cy="20" rx="5" ry="6" rotation="90"/>', (4, 15, 16, 25)),
        ('<mask label="cat" left="3" top="4" width="5" height="6" rle="0, 30"/>', (3, 4, 8, 10)),
    ],
)
def test_shapes_become_boxes(tmp_path, shape, xyxy):
    save_images(tmp_path / "images", {"a.png": []})
    (found,) = read(tmp_path, image("a.png", shape)).images
    assert (found.file, found.size) == (tmp_path / "images/a.png", (64, 48))
    assert found.boxes[0].class_name == "cat"
    assert found.boxes[0].xyxy == pytest.approx(xyxy)


def test_points_and_skeletons_are_counted_and_not_read(tmp_path):
    save_images(tmp_path, {"a.png": []})
    found = read(tmp_path, image("a.png", '<points label="cat" points="1,2"/><skeleton label="cat"/>'))
    assert found.images[0].boxes == ()
    assert "2 shapes are not read: points, skeleton" in found.remarks[0]


def test_frames_are_listed_without_an_extension(tmp_path):
    save_images(tmp_path / "images", {"frame_000000.PNG": []})
    assert read(tmp_path, image("frame_000000")).images[0].file.name == "frame_000000.PNG"


def test_subsets_are_splits_and_images_may_lie_in_subfolders(tmp_path):
    save_images(tmp_path / "images", {"Train/cam1/0.png": [], "Validation/cam1/0.png": []})
    found = read(tmp_path, *(image("cam1/0.png", extra=f'subset="{subset}" task_id="3"') for subset in ["Train"]))
    assert [(one.file.parts[-3], one.split) for one in found.images] == [("Train", "train")]
    assert read(tmp_path, image("Validation/cam1/0.png", extra='task_id="3"'), column="task_id").images[0].group == "3"


def test_a_missing_image_is_skipped(tmp_path):
    assert read(tmp_path, image("gone.png")).skipped[0].file == "gone.png"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<box label="cat" xtl="x" ytl="2" xbr="30" ybr="40"/>', "box with a coordinate that is not a number"),
        ('<box label="cat" ytl="2" xbr="30" ybr="40"/>', "box with a coordinate that is not a number"),
        ('<box label="" xtl="1" ytl="2" xbr="30" ybr="40"/>', "box without a label"),
        ('<polygon label="cat" points="1,2,3"/>', "polygon with a coordinate that is not a number"),
    ],
)
def test_invalid_shapes_are_errors(tmp_path, shape, message):
    with pytest.raises(AnnotationError, match=f"image 'a.png' has a {message}"):
        read(tmp_path, image("a.png", shape))


def test_video_annotations_are_another_kind(tmp_path):
    xml = tmp_path / "a.xml"
    xml.write_text('<annotations><track label="cat"><box frame="0" xtl="1"/></track></annotations>')
    assert find_cvat_files(SourceFiles(tmp_path)) == []
    assert is_cvat_video(xml)

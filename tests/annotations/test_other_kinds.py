import json

import pytest
from support.prepare_workspace import save_images

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.formats import read_source
from retinanet.annotations.other_kinds import recognize_other_kind
from retinanet.errors import AnnotationError

TRACK = '<annotations><track label="cat"><box frame="0"/></track></annotations>'
CREATE_ML = [{"image": "a.png", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}]
KITTI = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
DOTA = "imagesource:GoogleEarth\ngsd:0.14\n1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 plane 0\n"


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("a.txt", KITTI, "KITTI"),
        ("a.txt", DOTA, "DOTA"),
        ("a.txt", "684,8,273,116,0,0,0,0\n", "VisDrone"),
        ("wider_face_train_bbx_gt.txt", "0--Parade/0_Parade_1_849.jpg\n1\n449 330 122 149\n", "WIDER FACE"),
        ("boxes.csv", "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n", "Open Images"),
        ("a.json", json.dumps(CREATE_ML), "CreateML"),
        ("a.json", json.dumps([{"name": "a.png", "labels": []}]), "BDD100K"),
        ("a.manifest", '{"source-ref": "s3://x/a.png"}\n', "SageMaker"),
        ("a.ndjson", '{"data_row": {"id": "x"}}\n', "Labelbox"),
        ("a.json", json.dumps([{"ID": "x", "Labeled Data": "https://x/a.png"}]), "Labelbox"),
        ("a.tfrecord", "x", "TFRecord"),
        ("a.xml", TRACK, "CVAT for video"),
        ("a.txt", "0 0.5 0.5 0.1 0.1\n", "YOLO labels without class names"),
    ],
)
def test_other_kinds_are_named_with_what_helps(tmp_path, name, text, title):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / name).write_text(text)
    with pytest.raises(AnnotationError, match=rf"{name} is .*{title}.*; (convert|export|add)"):
        read_source(tmp_path)


def test_other_files_are_not_recognized(tmp_path):
    (tmp_path / "README.txt").write_text("1 image of a cat\n")
    (tmp_path / "broken.json").write_text("{")
    assert recognize_other_kind(SourceFiles(tmp_path)) == ""

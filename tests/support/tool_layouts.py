"""The layouts in which labeling tools export, as docs/data.md lists them.

Each has two images of 64 x 48, a and b, with a cat from (16, 12) to (48, 36).
"""

import json
from pathlib import Path
from typing import NamedTuple

from support.prepare_workspace import save_images, voc_xml

CORNERS = (16, 12, 48, 36)
YOLO = "0 0.5 0.5 0.5 0.5\n"
VOC = {name: voc_xml(f"{name}.png", [("cat", CORNERS)]) for name in "ab"}


class Layout(NamedTuple):
    """The images, the other files, and the splits of a and b (None: no official split)."""

    format: str
    images: tuple[str, str]
    files: dict[str, str]
    splits: tuple[str | None, str | None] = (None, None)


def coco(*names: str, first_id: int = 1, grouping: bool = False) -> str:
    """A COCO file; grouping: with Roboflow's category 0, and file names and ids as Roboflow writes them."""
    ids = range(first_id, first_id + len(names))
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in zip(ids, names, strict=True)]
    categories = [{"id": 1, "name": "cat", "supercategory": "animals"}]
    categories = [{"id": 0, "name": "animals", "supercategory": "none"}, *categories] if grouping else categories
    annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": [16, 12, 32, 24], "iscrowd": 0} for n in ids]
    return json.dumps(
        {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    )


def cvat(*names: str) -> str:
    box = '<box label="cat" occluded="0" xtl="16.00" ytl="12.00" xbr="48.00" ybr="36.00" z_order="0"/>'
    images = "".join(
        f'<image id="{n}" name="{name}" width="64" height="48">{box}</image>' for n, name in enumerate(names)
    )
    return f"<annotations><version>1.1</version><meta><task/></meta>{images}</annotations>"


def label_studio(*names: str) -> str:
    value = {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}
    annotations = [{"id": 1, "was_cancelled": False, "result": [{"type": "rectanglelabels", "value": value}]}]
    return json.dumps([{"id": n, "data": {"image": name}, "annotations": annotations} for n, name in enumerate(names)])


def datumaro(name: str) -> str:
    annotation = {"id": 0, "type": "bbox", "label_id": 0, "bbox": [16, 12, 32, 24], "attributes": {}}
    item = {"id": Path(name).stem, "annotations": [annotation], "image": {"path": name, "size": [48, 64]}}
    categories = {"label": {"labels": [{"name": "cat", "parent": "", "attributes": []}]}}
    return json.dumps({"dm_format_version": "1.0", "info": {}, "categories": categories, "items": [item]})


def labelme(name: str) -> str:
    shape: dict = {
        "label": "cat",
        "points": [[16, 12], [48, 36]],
        "group_id": None,
        "shape_type": "rectangle",
        "flags": {},
    }
    return json.dumps({"version": "5.5.0", "flags": {}, "shapes": [shape], "imagePath": name, "imageData": None})


def via(*names: str) -> str:
    shape = {"name": "rect", "x": 16, "y": 12, "width": 32, "height": 24}
    regions = [{"shape_attributes": shape, "region_attributes": {"label": "cat"}}]
    return json.dumps({f"{name}99": {"filename": name, "size": 99, "regions": regions} for name in names})


def vott(*names: str) -> str:
    box = {"left": 16, "top": 12, "width": 32, "height": 24}
    regions = [{"id": "x", "type": "RECTANGLE", "tags": ["cat"], "boundingBox": box}]
    assets = {name: {"asset": {"name": name, "path": f"file:C:/x/{name}"}, "regions": regions} for name in names}
    return json.dumps({"name": "x", "tags": [{"name": "cat"}], "assets": assets})


def supervisely() -> str:
    points = {"exterior": [[16, 12], [48, 36]], "interior": []}
    objects = [{"classTitle": "cat", "geometryType": "rectangle", "points": points}]
    return json.dumps({"description": "", "tags": [], "size": {"height": 48, "width": 64}, "objects": objects})


def csv_rows(pattern: str, *names: str, header: str = "") -> str:
    return header + "".join(pattern.format(name=name) for name in names)


PLAIN = "{name},16,12,48,36,cat\n"
TENSORFLOW = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
TENSORFLOW_ROW = "{name},64,48,cat,16,12,48,36\n"
SPLIT = ("train", "val")
ROBOFLOW = ("train/a.png", "valid/b.png")
README = {"README.dataset.txt": "# cats\n", "README.roboflow.txt": "cats - v1\n"}
VIA_HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
VIA_ROW = (
    '{name},9,"{{}}",1,0,"{{""name"":""rect"",""x"":16,""y"":12,""width"":32,""height"":24}}","{{""label"":""cat""}}"\n'
)

LAYOUTS = {
    "CVAT Pascal VOC": Layout(
        "voc",
        ("JPEGImages/cam1/a.png", "JPEGImages/cam2/b.png"),
        {
            "Annotations/cam1/a.xml": VOC["a"],
            "Annotations/cam2/b.xml": VOC["b"],
            "ImageSets/Main/Train.txt": "cam1/a\n",
            "ImageSets/Main/Validation.txt": "cam2/b\n",
            "labelmap.txt": "# label:color_rgb:parts:actions\ncat:250,50,83::\n",
        },
        SPLIT,
    ),
    "CVAT COCO": Layout(
        "coco",
        ("images/Train/cam1/a.png", "images/Validation/cam1/b.png"),
        {
            "annotations/instances_Train.json": coco("cam1/a.png"),
            "annotations/instances_Validation.json": coco("cam1/b.png"),
        },
        SPLIT,
    ),
    "CVAT YOLO 1.1": Layout(
        "yolo",
        ("obj_train_data/a.png", "obj_valid_data/b.png"),
        {
            "obj.data": "classes = 1\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n",
            "obj.names": "cat\n",
            "obj_train_data/a.txt": YOLO,
            "obj_valid_data/b.txt": YOLO,
            "train.txt": "data/obj_train_data/a.png\n",
            "valid.txt": "data/obj_valid_data/b.png\n",
        },
        SPLIT,
    ),
    "CVAT Ultralytics YOLO": Layout(
        "yolo",
        ("images/train/a.png", "images/val/b.png"),
        {
            "data.yaml": "names:\n  0: cat\npath: .\ntrain: train.txt\nval: val.txt\n",
            "labels/train/a.txt": YOLO,
            "labels/val/b.txt": YOLO,
            "train.txt": "data/images/train/a.png\n",
            "val.txt": "data/images/val/b.png\n",
        },
        SPLIT,
    ),
    "CVAT for images": Layout(
        "cvat", ("images/a.png", "images/cam1/b.png"), {"annotations.xml": cvat("a.png", "cam1/b.png")}
    ),
    "Label Studio COCO": Layout(
        "coco",
        ("images/1-a.png", "images/2-b.png"),
        {"result.json": coco("images\\1-a.png", "images\\2-b.png", first_id=0)},
    ),
    "Label Studio VOC": Layout(
        "voc", ("images/a.png", "images/b.png"), {"Annotations/a.xml": VOC["a"], "Annotations/b.xml": VOC["b"]}
    ),
    "Label Studio YOLO": Layout(
        "yolo",
        ("images/a.png", "images/b.png"),
        {
            "classes.txt": "cat\n",
            "notes.json": json.dumps({"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}}),
            "labels/a.txt": YOLO,
            "labels/b.txt": YOLO,
        },
    ),
    "Label Studio JSON": Layout(
        "label-studio",
        ("a.png", "b.png"),
        {"x.json": label_studio("/data/upload/1/a.png", "/data/local-files/?d=x/b.png")},
    ),
    "Roboflow COCO": Layout(
        "coco",
        ROBOFLOW,
        {
            "train/_annotations.coco.json": coco("a.png", first_id=0, grouping=True),
            "valid/_annotations.coco.json": coco("b.png", first_id=0, grouping=True),
            **README,
        },
        SPLIT,
    ),
    "Roboflow VOC": Layout("voc", ROBOFLOW, {"train/a.xml": VOC["a"], "valid/b.xml": VOC["b"], **README}, SPLIT),
    "Roboflow YOLO": Layout(
        "yolo",
        ("train/images/a.png", "valid/images/b.png"),
        {
            "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: \nnc: 1\nnames: ['cat']\n",
            "train/labels/a.txt": YOLO,
            "valid/labels/b.txt": YOLO,
            **README,
        },
        SPLIT,
    ),
    "Roboflow Darknet": Layout(
        "yolo",
        ROBOFLOW,
        {
            "train/_darknet.labels": "cat\n",
            "valid/_darknet.labels": "cat\n",
            "train/a.txt": YOLO,
            "valid/b.txt": YOLO,
            **README,
        },
        SPLIT,
    ),
    "Roboflow TensorFlow CSV": Layout(
        "csv",
        ROBOFLOW,
        {
            "train/_annotations.csv": csv_rows(TENSORFLOW_ROW, "a.png", header=TENSORFLOW),
            "valid/_annotations.csv": csv_rows(TENSORFLOW_ROW, "b.png", header=TENSORFLOW),
        },
        SPLIT,
    ),
    "Roboflow Keras CSV": Layout(
        "csv",
        ROBOFLOW,
        {
            "train/_annotations.csv": csv_rows(PLAIN, "a.png"),
            "valid/_annotations.csv": csv_rows(PLAIN, "b.png"),
            "train/_classes.csv": "cat,0\n",
            "valid/_classes.csv": "cat,0\n",
        },
        SPLIT,
    ),
    "FiftyOne COCO": Layout("coco", ("data/a.png", "data/b.png"), {"labels.json": coco("a.png", "b.png")}),
    "FiftyOne VOC": Layout("voc", ("data/a.png", "data/b.png"), {"labels/a.xml": VOC["a"], "labels/b.xml": VOC["b"]}),
    "FiftyOne YOLOv4": Layout(
        "yolo",
        ("data/a.png", "data/b.png"),
        {"obj.names": "cat\n", "images.txt": "data/a.png\ndata/b.png\n", "data/a.txt": YOLO, "data/b.txt": YOLO},
    ),
    "FiftyOne YOLOv5": Layout(
        "yolo",
        ("images/train/a.png", "images/val/b.png"),
        {
            "dataset.yaml": "names:\n- cat\nnc: 1\npath: /home/me/x\ntrain: ./images/train/\nval: ./images/val/\n",
            "labels/train/a.txt": YOLO,
            "labels/val/b.txt": YOLO,
        },
        SPLIT,
    ),
    "FiftyOne CVAT": Layout("cvat", ("data/a.png", "data/b.png"), {"labels.xml": cvat("a.png", "b.png")}),
    "labelImg VOC": Layout("voc", ("a.png", "b.png"), {"a.xml": VOC["a"].replace("a.png", "a"), "b.xml": VOC["b"]}),
    "labelImg YOLO": Layout("yolo", ("a.png", "b.png"), {"classes.txt": "cat\n", "a.txt": YOLO, "b.txt": YOLO}),
    "labelme": Layout("labelme", ("a.png", "b.png"), {"a.json": labelme("a.png"), "b.json": labelme("..\\x\\b.png")}),
    "VIA JSON": Layout("via", ("a.png", "b.png"), {"via_region_data.json": via("a.png", "b.png")}),
    "VIA CSV": Layout("via", ("a.png", "b.png"), {"via.csv": csv_rows(VIA_ROW, "a.png", "b.png", header=VIA_HEADER)}),
    "VoTT JSON": Layout(
        "vott",
        ("vott-json-export/a.png", "vott-json-export/b.png"),
        {"vott-json-export/x-export.json": vott("a.png", "b.png")},
    ),
    "VoTT CSV": Layout(
        "csv",
        ("vott-csv-export/a.png", "vott-csv-export/b.png"),
        {
            "vott-csv-export/x-export.csv": csv_rows(
                '"{name}",16.0,12.0,48.0,36.0,"cat"\n',
                "a.png",
                "b.png",
                header='"image","xmin","ymin","xmax","ymax","label"\n',
            )
        },
    ),
    "VoTT Pascal VOC": Layout(
        "voc",
        ("x-PascalVOC-export/JPEGImages/a.png", "x-PascalVOC-export/JPEGImages/b.png"),
        {
            "x-PascalVOC-export/Annotations/a.xml": VOC["a"],
            "x-PascalVOC-export/Annotations/b.xml": VOC["b"],
            "x-PascalVOC-export/ImageSets/Main/cat_train.txt": "a.png 1\n",
            "x-PascalVOC-export/ImageSets/Main/cat_val.txt": "b.png 1\n",
            "x-PascalVOC-export/pascal_label_map.pbtxt": "item {\n id: 1\n name: 'cat'\n}\n",
        },
        SPLIT,
    ),
    "Supervisely": Layout(
        "supervisely",
        ("train/img/a.png", "val/img/b.png"),
        {
            "meta.json": json.dumps({"classes": [{"title": "cat", "shape": "rectangle"}], "tags": []}),
            "train/ann/a.png.json": supervisely(),
            "val/ann/b.png.json": supervisely(),
        },
        SPLIT,
    ),
    "makesense CSV": Layout(
        "csv", ("a.png", "b.png"), {"labels_x.csv": "cat,16,12,32,24,a.png,64,48\ncat,16,12,32,24,b.png,64,48\n"}
    ),
    "makesense YOLO": Layout(
        "yolo", ("a.png", "b.png"), {"labels.txt": "cat\n", "labels_x/a.txt": YOLO, "labels_x/b.txt": YOLO}
    ),
    "Datumaro": Layout(
        "datumaro",
        ("images/train/a.png", "images/val/b.png"),
        {"annotations/train.json": datumaro("a.png"), "annotations/val.json": datumaro("b.png")},
        SPLIT,
    ),
    "keras-retinanet": Layout(
        "csv",
        ("images/a.png", "images/b.png"),
        {"annotations.csv": csv_rows(PLAIN, "/data/x/images/a.png", "/data/x/images/b.png"), "classes.csv": "cat,0\n"},
    ),
    "DeepForest": Layout(
        "csv",
        ("a.png", "b.png"),
        {"x.csv": csv_rows(PLAIN, "a.png", "b.png", header="image_path,xmin,ymin,xmax,ymax,label\n")},
    ),
    "SKU-110K": Layout(
        "csv",
        ("images/a.png", "images/b.png"),
        {
            "annotations/annotations_train.csv": "a.png,16,12,48,36,cat,64,48\n",
            "annotations/annotations_val.csv": "b.png,16,12,48,36,cat,64,48\n",
        },
        SPLIT,
    ),
    "TensorFlow object detection": Layout(
        "voc",
        ("images/train/a.png", "images/test/b.png"),
        {"images/train/a.xml": VOC["a"], "images/test/b.xml": VOC["b"]},
        ("train", "test"),
    ),
    "a copy of darknet with lists elsewhere": Layout(
        "yolo",
        ("x/images/a.png", "x/images/b.png"),
        {
            "x/data.yaml": "names: [cat]\ntrain: /root/x/train.txt\nval: /root/x/val.txt\n",
            "x/train.txt": "/root/x/images/a.png\n",
            "x/val.txt": "/root/x/images/b.png\n",
            "x/labels/a.txt": YOLO,
            "x/labels/b.txt": YOLO,
        },
        SPLIT,
    ),
}


def write_layout(root: Path, layout: Layout) -> None:
    save_images(root, {name: [] for name in layout.images})
    for name, text in layout.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")

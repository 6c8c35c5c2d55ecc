import re
from html.parser import HTMLParser

import numpy as np
import pytest

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import match_detections
from retinanet.explain.examples import Example, Explained
from retinanet.explain.report import report_html, summary
from retinanet.inference.detections import Detections

CLASSES = ("cat", "<b>dog</b>")
BOX = [20, 20, 60, 60]


def example(boxes=(), truth=(), labels=None):
    detections = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.875, np.float32),
        np.array(labels or [0] * len(boxes), np.int64),
    )
    objects = Objects(
        np.array(truth, np.float32).reshape(-1, 4), np.zeros(len(truth), np.int64), np.zeros(len(truth), bool)
    )
    explained = tuple(
        Explained(row, "most confident true positive", np.ones((80, 80), np.float32), 4, 16)
        for row in range(len(boxes))
    )
    image = np.full((80, 80, 3), 90, np.uint8)
    return Example("an image.png", image, detections, objects, match_detections(detections, objects), explained)


class Images(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.sources.append(dict(attrs)["src"])


def test_report_html_is_self_contained():
    page = report_html([example(boxes=[BOX], truth=[BOX])], CLASSES, {"AP50": "0.5"})
    images = Images()
    images.feed(page)
    assert len(images.sources) == 3  # detections, ground truth, heat
    assert all(source.startswith("data:image/jpeg;base64,") for source in images.sources)
    assert not re.search(r'(href|src)="(?!data:)|url\(|@import', page)


def test_report_html_describes_each_explained_detection():
    page = report_html([example(boxes=[BOX], truth=[[20, 20, 60, 40]])], CLASSES, {})
    for words in (
        "A · most confident true positive",
        "cat 0.88",
        "P4, stride 16 px",
        "IoU 0.50 with cat",
        "x 20 to 60, y 20 to 60",
    ):
        assert words in page


def test_report_html_escapes_names():
    page = report_html([example(boxes=[BOX], labels=[1])], CLASSES, {"<i>": "&"})
    assert "<b>dog</b>" not in page
    assert "&lt;b&gt;dog&lt;/b&gt;" in page
    assert "<i>" not in page


def test_report_html_says_if_an_image_has_no_detections():
    page = report_html([example(truth=[BOX])], CLASSES, {})
    assert "No detections on this image" in page
    assert "0 of 1 objects found" in page


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (example(), "No objects and no detections."),
        (
            example(boxes=[BOX, BOX], truth=[BOX]),
            "1 of 1 objects found; 2 detections: 1 correct, 1 duplicate.",
        ),
        (example(boxes=[BOX]), "0 of 0 objects found; 1 detections: 1 on background."),
    ],
)
def test_summary(shown, line):
    assert summary(shown) == line


def test_report_html_names_hirescam_and_its_difference_from_grad_cam():
    page = report_html([example()], CLASSES, {})
    assert "HiResCAM multiplies gradient and activation cell by cell; Grad-CAM averages" in page

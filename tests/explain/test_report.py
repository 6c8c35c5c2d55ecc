import re
from html.parser import HTMLParser

import numpy as np
import pytest

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import judge
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
    explained = tuple(Explained(row, "surest hit", np.ones((80, 80), np.float32), 4, 16) for row in range(len(boxes)))
    image = np.full((80, 80, 3), 90, np.uint8)
    return Example("an image.png", image, detections, objects, judge(detections, objects), explained)


class Images(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.sources.append(dict(attrs)["src"])


def test_the_page_stands_alone():
    page = report_html([example(boxes=[BOX], truth=[BOX])], CLASSES, {"AP50": "0.5"})
    images = Images()
    images.feed(page)
    assert len(images.sources) == 3  # found, marked, heat
    assert all(source.startswith("data:image/jpeg;base64,") for source in images.sources)
    assert not re.search(r'(href|src)="(?!data:)|url\(|@import', page)


def test_an_explained_detection_says_what_and_where():
    page = report_html([example(boxes=[BOX], truth=[[20, 20, 60, 40]])], CLASSES, {})
    for words in ("A · surest hit", "cat 0.88", "P4, stride 16 px", "IoU 0.50 with a cat", "x 20 to 60, y 20 to 60"):
        assert words in page


def test_names_cannot_break_the_page():
    page = report_html([example(boxes=[BOX], labels=[1])], CLASSES, {"<i>": "&"})
    assert "<b>dog</b>" not in page
    assert "&lt;b&gt;dog&lt;/b&gt;" in page
    assert "<i>" not in page


def test_a_image_without_detections_has_a_row_that_says_so():
    page = report_html([example(truth=[BOX])], CLASSES, {})
    assert "the detector found nothing on this image" in page
    assert "0 of 1 objects found" in page


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (example(), "No object is on this image, and none was found."),
        (
            example(boxes=[BOX, BOX], truth=[BOX]),
            "1 of 1 objects found; 2 detections: 1 right, 1 of an object found already.",
        ),
        (example(boxes=[BOX]), "0 of 0 objects found; 1 detections: 1 on background."),
    ],
)
def test_the_summary_of_a_image(shown, line):
    assert summary(shown) == line

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from support.explained import class_page

from retinanet.dataset.coco import CocoDataset, Objects
from retinanet.evaluation.errors import LOCALIZATION, NO_OBJECT
from retinanet.explain.case_heats import ExplainedCase
from retinanet.explain.cases import DETECTION, FALSE_POSITIVE, MISSED, Case
from retinanet.explain.label_checks import CHECKS
from retinanet.explain.report import ExplainedImage, case_figure, images_html, report_html
from retinanet.explain.targets import Explanation
from retinanet.inference.detections import Detections

BOX = np.array([20, 20, 60, 60], np.float32)
GRAY = np.full((80, 80, 3), 90, np.uint8)
HEAT = Explanation(np.ones((80, 80), np.float32), 4, 16, 0.125)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.figures = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.sources.append(dict(attrs)["src"])
        if tag == "figure":
            self.figures.append(dict(attrs))


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return class_page(tmp_path, 3)


def figure(case, objects=None, heat=HEAT, origin=(0, 0)):
    return case_figure(ExplainedCase(case, GRAY, objects, heat, origin), ("cat", "dog"), "a.png")


def test_report_html_is_self_contained(page):
    parsed = Page(page)
    assert len(parsed.sources) == 3 * 3 + 3  # cases, and images to check
    assert all(source.startswith("data:image/jpeg;base64,") for source in parsed.sources)
    assert not re.search(r'src="(?!data:)|url\(|@import|https?://', page)
    assert re.findall(r'href="([^"]*)"', page) == ["labels_to_check.csv"]


def test_figures_have_what_they_are_filtered_by(page):
    figures = [(f["data-labels"], f["data-error"], f["data-score"]) for f in Page(page).figures]
    assert ("2", "background", "0.6") in figures
    assert ("2", "true positive", "0.9") in figures
    assert ("2", "missed object", "0.0") in figures
    assert ("2", "unlabeled object", "0.6") in figures


def test_sections_are_labels_to_look_at_and_the_kinds_of_cases(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[:2] == ["Labels to look at first", "False positives that look right"]
    assert titles[-3:] == ["False positives", "Missed objects", "Hits"]
    assert re.findall(r"<b>(1[.].*?)</b><br>(.*?)</figcaption>", page) == [
        ("1. 1 detection, scores add up to 0.6", "0.png")
    ]


def test_figure_of_a_detection_says_what_it_is_and_where():
    objects = Objects(BOX[None], np.array([1]), np.zeros(1, bool))
    shown = figure(Case(FALSE_POSITIVE, LOCALIZATION, 1, 1, 0.875, BOX + 20, 0, 0.25), objects)
    assert shown["title"] == "dog 0.88"
    assert shown["truth"] == "poorly localized, IoU 0.25 with dog"
    assert shown["level"] == "P4, stride 16 px"
    assert shown["place"] == "a.png, x 40 to 80, y 40 to 80"
    assert shown["heat"] == ""


@pytest.mark.parametrize(
    ("score", "nearest"), [(0.25, "the best detection on it has 0.25"), (0.0, "no detection on it")]
)
def test_figure_of_a_missed_object_says_how_nearly_it_was_found(score, nearest):
    shown = figure(Case(MISSED, MISSED, 1, 0, score, BOX, 0, 0.0), Objects(BOX[None], np.array([0]), np.zeros(1, bool)))
    assert shown["title"] == "cat missed"
    assert shown["truth"] == f"{nearest}; the anchor's score is 0.12"


def test_figure_without_heat_says_so():
    cold = Explanation(np.zeros((80, 80), np.float32), 3, 8, 0.01)
    shown = figure(Case(DETECTION, "", 0, 0, 0.5, BOX, NO_OBJECT, 0.0), heat=cold)
    assert (shown["heat"], shown["truth"]) == ("No cell of this map raises the score.", "")


def test_report_html_escapes_names_and_says_if_nothing_is_there():
    nothing = CocoDataset((), ("<b>dog</b>",), (1,), {})
    page = report_html(nothing, {}, {check: [] for check in CHECKS}, {"<i>": "&"}, "gradcam++")
    assert "&lt;i&gt;" in page and "<i>" not in page
    assert page.count("None on this split.") == 3
    assert "Labels to look at first" not in page
    assert "Grad-CAM++" in page


def test_images_html_shows_each_image_with_its_explained_detections():
    detections = Detections(np.array([BOX, BOX + 20]), np.array([0.9, 0.8], np.float32), np.array([0, 1]))
    case = Case(DETECTION, "", 0, 0, 0.9, BOX, NO_OBJECT, 0.0)
    shown = ExplainedImage("<a>.png", GRAY, detections, (ExplainedCase(case, GRAY, None, HEAT),))
    page = images_html([shown], ("cat", "dog"), {"model": "m"}, "hirescam")
    assert "&lt;a&gt;.png" in page and "2 detections, 1 explained" in page
    assert len(Page(page).sources) == 2
    # Nothing is known about the truth.
    assert "ground truth" not in page and "labels_to_check" not in page

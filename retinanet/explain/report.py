"""The explanation of detections as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset
from retinanet.drawing import GROUND_TRUTH_COLOR, IGNORED_COLOR, IGNORED_NAME, draw_detections, jpeg
from retinanet.evaluation.errors import (
    BACKGROUND_ERROR,
    CLASS,
    CLASS_AND_LOCALIZATION,
    DUPLICATE,
    LOCALIZATION,
    NO_OBJECT,
    OUTCOMES,
    TRUE_POSITIVE,
)
from retinanet.explain.cam import METHOD_NAMES
from retinanet.explain.case_heats import ExplainedCase
from retinanet.explain.cases import FALSE_POSITIVE, HIT, KINDS, MISSED, Case
from retinanet.explain.label_checks import CHECKS, MISDRAWN, UNLABELED, WELL_DRAWN_IOU, WRONG_CLASS, ImageToCheck
from retinanet.explain.panels import CASE_SIDE, MISSED_COLOR, class_color, crops_panel, labels_panel
from retinanet.images.reading import read_image
from retinanet.inference.detections import Detections
from retinanet.pages.render import css_color, jpeg_url, render_page

# A legend of 80 classes would push the images off the screen.
MAX_CLASSES_IN_LEGEND = 20
# The page shows so many images of each check; the table of label_checks has all.
MAX_IMAGES_TO_CHECK = 6

TITLES = {
    FALSE_POSITIVE: "False positives",
    MISSED: "Missed objects",
    HIT: "Hits",
}
TEXTS = {
    FALSE_POSITIVE: "Detections that are no true positives, the most confident of each class first.",
    MISSED: "Objects without a detection, the least nearly found of each class first. The heat is that of the anchor "
    "that should have fired: the one that overlaps the object most.",
    HIT: "True positives, the most confident of each class first.",
}
CHECK_TITLES = {
    UNLABELED: "False positives that look right",
    MISDRAWN: "Boxes that look misdrawn",
    WRONG_CLASS: "Classes that look wrong",
}
CHECK_TEXTS = {
    UNLABELED: "Confident detections where nothing is labeled. Those that show an object mean a missing label, which "
    "lowers the metrics of a test set and teaches to miss in a training set.",
    MISDRAWN: f"Objects whose detection overlaps the labeled box by an IoU under {WELL_DRAWN_IOU:g}: one of the two "
    "boxes is drawn loosely. If most hits are here, it is the detector's.",
    WRONG_CLASS: "Objects that were found with confidence, but only as another class.",
}
DESCRIPTIONS = {
    TRUE_POSITIVE: "correct",
    DUPLICATE: "duplicate",
    CLASS: "wrong class",
    LOCALIZATION: "poorly localized",
    CLASS_AND_LOCALIZATION: "wrong class and poorly localized",
    BACKGROUND_ERROR: "on background",
    MISSED: "missed",
}


class ExplainedImage(NamedTuple):
    """An image (H, W, 3) uint8 without ground truth, its detections, and explanations of the best of them."""

    name: str
    image: np.ndarray
    detections: Detections
    explained: tuple[ExplainedCase, ...]


def case_figure(explained: ExplainedCase, class_names: Sequence[str], name: str) -> dict:
    """What the page shows of a case: its crops, its caption, and what it is filtered by. name is the image's."""
    case, explanation = explained.case, explained.explanation
    color = MISSED_COLOR if case.kind == MISSED else class_color(case.label)
    crops = crops_panel(explained.image, explanation.heat, explained.box_xyxy, color, CASE_SIDE, explained.objects)
    left, top, right, bottom = (round(float(side)) for side in case.box_xyxy)
    return {
        "kind": case.kind,
        "labels": [case.label],
        "error": case.error,
        "score": round(case.score, 4),
        "jpeg": jpeg(crops),
        "title": f"{class_names[case.label]} " + ("missed" if case.kind == MISSED else f"{case.score:.2f}"),
        "truth": _truth(explained, class_names),
        "level": f"P{explanation.level}, stride {explanation.stride} px",
        "place": f"{name}, x {left} to {right}, y {top} to {bottom}",
        "heat": "" if explanation.heat.any() else "No cell of this map raises the score.",
    }


def report_html(
    dataset: CocoDataset,
    figures: Mapping[Case, dict],
    to_check: Mapping[str, Sequence[ImageToCheck]],
    facts: Mapping[str, str],
    method: str,
) -> str:
    """The page of a test split: labels to check, and cases by kind. facts are shown at the top, e.g. metrics."""
    checks = [_check_section(dataset, check, to_check[check]) for check in CHECKS if to_check[check]]
    groups = [_group(kind, [figure for case, figure in figures.items() if case.kind == kind]) for kind in KINDS]
    shown = [*(image for section in checks for image in section["images"]), *figures.values()]
    return _render(dataset.class_names, [], checks, groups, shown, facts, method)


def images_html(
    images: Sequence[ExplainedImage], class_names: Sequence[str], facts: Mapping[str, str], method: str
) -> str:
    """The page of images without ground truth: each with its detections, and the best of them explained."""
    sections, figures = [], []
    for shown in images:
        found = [case_figure(explained, class_names, shown.name) for explained in shown.explained]
        drawn = draw_detections(shown.image, shown.detections, class_names)
        count = f"{len(shown.detections)} detections, {len(found)} explained"
        sections.append({"name": shown.name, "count": count, "jpeg": jpeg(drawn), "figures": found})
        figures += found
    return _render(class_names, sections, [], [], figures, facts, method)


def _render(
    class_names: Sequence[str],
    images: list[dict],
    checks: list[dict],
    groups: list[dict],
    shown: Sequence[dict],
    facts: Mapping[str, str],
    method: str,
) -> str:
    labels = sorted({label for item in shown for label in item["labels"]})
    errors = {item["error"] for item in shown} - {""}
    names = DESCRIPTIONS | {check: CHECK_TITLES[check].lower() for check in CHECKS}
    legend = [(class_names[label], css_color(class_color(label))) for label in labels[:MAX_CLASSES_IN_LEGEND]]
    if not images:
        special = (("ground truth", GROUND_TRUTH_COLOR), ("missed object", MISSED_COLOR), (IGNORED_NAME, IGNORED_COLOR))
        legend += [(name, css_color(color)) for name, color in special]
    return render_page(
        "gradcam",
        url=jpeg_url,
        facts=facts,
        method=METHOD_NAMES[method],
        legend=legend,
        classes=[(label, class_names[label]) for label in labels],
        errors=[(error, names[error]) for error in (*CHECKS, *OUTCOMES, MISSED) if error in errors],
        images=images,
        checks=checks,
        groups=groups,
    )


def _group(kind: str, figures: list[dict]) -> dict:
    return {"kind": kind, "title": TITLES[kind], "text": TEXTS[kind], "figures": figures}


def _check_section(dataset: CocoDataset, check: str, images: Sequence[ImageToCheck]) -> dict:
    shown = [_check_figure(dataset, check, image, rank) for rank, image in enumerate(images[:MAX_IMAGES_TO_CHECK], 1)]
    count = f"{len(images)} of {len(dataset.images)} images, {sum(len(image.findings) for image in images)} detections"
    return {"title": CHECK_TITLES[check], "text": CHECK_TEXTS[check], "count": count, "images": shown}


def _check_figure(dataset: CocoDataset, check: str, to_check: ImageToCheck, rank: int) -> dict:
    info, count = to_check.image, len(to_check.findings)
    panel = labels_panel(
        read_image(Path(info.file_name), dataset.reading), dataset.objects[info.id], to_check.detections()
    )
    return {
        "labels": sorted({finding.label for finding in to_check.findings}),
        "error": check,
        "score": round(to_check.findings[0].score, 4),
        "jpeg": jpeg(panel),
        "title": f"{rank}. {count} detection{'s' if count > 1 else ''}, scores add up to {to_check.total:.1f}",
        "name": info.file_name,
    }


def _truth(explained: ExplainedCase, class_names: Sequence[str]) -> str:
    case = explained.case
    if case.kind == MISSED:
        nearest = f"the best detection on it has {case.score:.2f}" if case.score else "no detection on it"
        return f"{nearest}; the anchor's score is {explained.explanation.score:.2f}"
    if explained.objects is None:
        return ""
    if case.object_row == NO_OBJECT:
        return DESCRIPTIONS[case.error]
    labeled = class_names[explained.objects.labels[case.object_row]]
    return f"{DESCRIPTIONS[case.error]}, IoU {case.iou:.2f} with {labeled}"

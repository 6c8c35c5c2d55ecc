"""The HiResCAM report as one self-contained HTML page."""

from collections import Counter
from collections.abc import Mapping, Sequence

from retinanet.drawing import IGNORED_COLOR, IGNORED_NAME, jpeg
from retinanet.evaluation.errors import (
    BACKGROUND_ERROR,
    CLASS,
    CLASS_AND_LOCALIZATION,
    DUPLICATE,
    IGNORED,
    LOCALIZATION,
    NO_OBJECT,
    OUTCOMES,
    TRUE_POSITIVE,
)
from retinanet.explain.examples import Example, Explained
from retinanet.explain.panels import (
    MISSED_COLOR,
    class_color,
    detections_panel,
    heat_panel,
    letter,
    truth_panel,
)
from retinanet.pages.render import css_color, jpeg_url, render_page

# A legend of 80 classes would push the images off the screen.
MAX_CLASSES_IN_LEGEND = 20


def report_html(examples: Sequence[Example], class_names: tuple[str, ...], facts: Mapping[str, str]) -> str:
    """Render the page; facts are shown at its top, e.g. the model's metrics."""
    seen = sorted({int(label) for e in examples for label in (*e.detections.labels, *e.objects.labels)})
    return render_page(
        "gradcam",
        facts=facts,
        legend=[(class_names[label], css_color(class_color(label))) for label in seen[:MAX_CLASSES_IN_LEGEND]],
        missed_color=css_color(MISSED_COLOR),
        ignored=(IGNORED_NAME, css_color(IGNORED_COLOR)) if any(e.objects.iscrowd.any() for e in examples) else None,
        sections=[_section(example, class_names) for example in examples],
    )


def _section(example: Example, class_names: tuple[str, ...]) -> dict:
    return {
        "name": example.name,
        "summary": summary(example),
        "found": len(example.detections),
        "detections": jpeg_url(jpeg(detections_panel(example, class_names))),
        "truth": jpeg_url(jpeg(truth_panel(example, class_names))),
        "explained": [
            {
                "letter": letter(i),
                "reason": explained.reason,
                "is_error": example.matching.outcomes[explained.row] != TRUE_POSITIVE,
                "image": jpeg_url(jpeg(heat_panel(example, explained))),
                **_caption(example, explained, class_names),
            }
            for i, explained in enumerate(example.explained)
        ],
    }


def summary(example: Example) -> str:
    """One image's detections and missed objects in one line."""
    matching, objects = example.matching, example.objects.count
    if not objects and not len(example.detections):
        return "No objects and no detections."
    counts = Counter(matching.outcomes)
    outcomes = ", ".join(f"{counts[name]} {_DESCRIPTIONS[name]}" for name in OUTCOMES if counts[name])
    line = f"{objects - len(matching.unmatched)} of {objects} objects found; {len(example.detections)} detections"
    return f"{line}: {outcomes}." if outcomes else f"{line}."


_DESCRIPTIONS = {
    TRUE_POSITIVE: "correct",
    DUPLICATE: "duplicate",
    CLASS: "with a wrong class",
    LOCALIZATION: "poorly localized",
    CLASS_AND_LOCALIZATION: "with a wrong class and poorly localized",
    BACKGROUND_ERROR: "on background",
    IGNORED: "in an ignored region",
}


def _caption(example: Example, explained: Explained, class_names: tuple[str, ...]) -> dict[str, str]:
    detections, matching, row = example.detections, example.matching, explained.row
    object_row, outcome = int(matching.object_rows[row]), matching.outcomes[row]
    truth = "no object here"
    if object_row != NO_OBJECT:
        truth = f"IoU {matching.ious[row]:.2f} with {class_names[example.objects.labels[object_row]]}"
    left, top, right, bottom = (round(float(side)) for side in detections.boxes_xyxy[row])
    return {
        "label": class_names[detections.labels[row]],
        "score": f"{detections.scores[row]:.2f}",
        "level": f"P{explained.level}, stride {explained.stride} px",
        "truth": truth if outcome == TRUE_POSITIVE else f"{truth} ({_DESCRIPTIONS[outcome]})",
        "box": f"x {left} to {right}, y {top} to {bottom}",
        "heat": "" if explained.heat.any() else "No cell of this map raises the score.",
    }

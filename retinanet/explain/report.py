"""The report as one HTML page with its images inside, which opens anywhere and needs nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence

from retinanet.drawing import CROWD_COLOR, CROWD_NAME, jpeg
from retinanet.evaluation.errors import HIT, NOTHING, OUTCOMES
from retinanet.explain.examples import Example, Explained
from retinanet.explain.panels import (
    UNFOUND_COLOR,
    class_color,
    detections_panel,
    heat_panel,
    letter,
    truth_panel,
)
from retinanet.pages.render import css_color, jpeg_url, render_page

# A legend of all 80 classes of a large set would hide the page.
CLASSES_IN_LEGEND = 20


def report_html(examples: Sequence[Example], class_names: tuple[str, ...], facts: Mapping[str, str]) -> str:
    """The page. facts stand at its top: what was measured, and of which model."""
    seen = sorted({int(label) for e in examples for label in (*e.detections.labels, *e.objects.labels)})
    return render_page(
        "gradcam",
        facts=facts,
        legend=[(class_names[label], css_color(class_color(label))) for label in seen[:CLASSES_IN_LEGEND]],
        unfound_color=css_color(UNFOUND_COLOR),
        crowd=(CROWD_NAME, css_color(CROWD_COLOR)) if any(e.objects.iscrowd.any() for e in examples) else None,
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
                "why": explained.why,
                "fault": example.judgement.outcomes[explained.row] != HIT,
                "image": jpeg_url(jpeg(heat_panel(example, explained))),
                **_words(example, explained, class_names),
            }
            for i, explained in enumerate(example.explained)
        ],
    }


def summary(example: Example) -> str:
    """What was found on one image, in a line."""
    judgement, objects = example.judgement, example.objects.count
    if not objects and not len(example.detections):
        return "No object is on this image, and none was found."
    found = f"{len(example.detections)} detections"
    counts = Counter(judgement.outcomes)
    kinds = ", ".join(f"{counts[kind]} {_KINDS.get(kind, kind)}" for kind in OUTCOMES if counts[kind])
    hit = f"{objects - len(judgement.unfound)} of {objects} objects found"
    return f"{hit}; {found}" + (f": {kinds}." if kinds else ".")


_KINDS = {
    HIT: "right",
    "duplicate": "of an object found already",
    "class": "of a wrong class",
    "localization": "badly placed",
    "class and localization": "of a wrong class and badly placed",
    "background": "on background",
    "ignored": "on crowds or cut-off rests (not counted)",
}


def _words(example: Example, explained: Explained, class_names: tuple[str, ...]) -> dict[str, str]:
    detections, judgement, row = example.detections, example.judgement, explained.row
    about = int(judgement.objects[row])
    truth = "no object there"
    if about != NOTHING:
        truth = f"IoU {judgement.ious[row]:.2f} with a {class_names[example.objects.labels[about]]}"
    left, top, right, bottom = (round(float(side)) for side in detections.boxes_xyxy[row])
    return {
        "label": class_names[detections.labels[row]],
        "score": f"{detections.scores[row]:.2f}",
        "level": f"P{explained.level}, stride {explained.stride} px",
        "truth": truth if judgement.outcomes[row] == HIT else f"{truth} ({_KINDS[judgement.outcomes[row]]})",
        "box": f"x {left} to {right}, y {top} to {bottom}",
        "heat": "" if explained.heat.any() else "Nothing on this map speaks for the label.",
    }

"""The report as one HTML page with its pictures inside, which opens anywhere and needs nothing else."""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from retinanet.evaluation.errors import HIT, NOTHING, OUTCOMES
from retinanet.explain.examples import Example, Explained
from retinanet.explain.panels import (
    UNFOUND_COLOUR,
    class_colour,
    detections_panel,
    heat_panel,
    letter,
    truth_panel,
)

TEMPLATE = Path(__file__).with_name("report.html")
JPEG_QUALITY = 82
# A legend of all 80 classes of a large set would hide the page.
CLASSES_IN_LEGEND = 20


def report_html(examples: Sequence[Example], class_names: tuple[str, ...], facts: Mapping[str, str]) -> str:
    """The page. facts stand at its top: what was measured, and of which model."""
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    seen = sorted({int(label) for e in examples for label in (*e.detections.labels, *e.objects.labels)})
    return template.render(
        facts=facts,
        legend=[(class_names[label], _css(class_colour(label))) for label in seen[:CLASSES_IN_LEGEND]],
        unfound_colour=_css(UNFOUND_COLOUR),
        sections=[_section(example, class_names) for example in examples],
    )


def _section(example: Example, class_names: tuple[str, ...]) -> dict:
    return {
        "name": example.name,
        "summary": summary(example),
        "found": len(example.detections),
        "detections": _data_url(detections_panel(example, class_names)),
        "truth": _data_url(truth_panel(example, class_names)),
        "explained": [
            {
                "letter": letter(i),
                "why": explained.why,
                "fault": example.judgement.outcomes[explained.row] != HIT,
                "picture": _data_url(heat_panel(example, explained)),
                **_words(example, explained, class_names),
            }
            for i, explained in enumerate(example.explained)
        ],
    }


def summary(example: Example) -> str:
    """What was found on one picture, in a line."""
    judgement, objects = example.judgement, int((~example.objects.iscrowd).sum())
    if not objects and not len(example.detections):
        return "No object is on this picture, and none was found."
    found = f"{len(example.detections)} detections"
    counts = Counter(judgement.outcomes)
    kinds = ", ".join(f"{counts[kind]} {_PLURAL.get(kind, kind)}" for kind in OUTCOMES if counts[kind])
    hit = f"{objects - len(judgement.unfound)} of {objects} objects found"
    return f"{hit}; {found}" + (f": {kinds}." if kinds else ".")


_PLURAL = {
    HIT: "hits",
    "duplicate": "duplicates",
    "class": "of a wrong class",
    "localisation": "badly placed",
    "class and localisation": "of a wrong class and badly placed",
    "background": "on background",
    "ignored": "on crowds (not counted)",
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
        "truth": truth if judgement.outcomes[row] == HIT else f"{truth} ({_PLURAL[judgement.outcomes[row]]})",
        "box": f"x {left} to {right}, y {top} to {bottom}",
        "heat": "" if explained.heat.any() else "Nothing on this map speaks for the label.",
    }


def _data_url(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

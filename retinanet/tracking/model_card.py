"""The model card: what a version is, how good it is, what it was made from, and what it is not for; Markdown."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from retinanet.config.params import flat
from retinanet.config.settings import Params
from retinanet.fetch.public_sets import PUBLIC_SETS
from retinanet.files import sha256_of
from retinanet.tracking.failures import without_password
from retinanet.tracking.provenance import provenance_tags

METRICS = ("AP50", "AP", "AP75")
MAX_CLASSES = 20
MAX_NAME = 30  # characters of a class name
SETTINGS = (
    "model.backbone",
    "model.weights",
    "model.short_side",
    "prepare.tile_size",
    "train.epochs",
    "train.batch_size",
    "train.learning_rate",
    "train.box_loss",
    "train.seed",
    "evaluate.operating_point",
    "evaluate.nms_iou",
)


def model_card(params: Params, class_names: Sequence[str], evaluation: Path, splits: Mapping[str, Path]) -> str:
    """The card of the model that the folder `evaluation` has the results of, trained and measured on these splits."""
    intervals = json.loads((evaluation / "intervals.json").read_text(encoding="utf-8"))
    with open(evaluation / "per_class.csv", encoding="utf-8", newline="") as file:
        classes = list(csv.DictReader(file))
    name = params.tracking.model_name
    parts = [
        f"# {name}: {_shown_classes(class_names)}",
        _made_by(params),
        "## Metrics on the test split",
        *_metrics(intervals),
        "## Classes",
        *_classes(classes),
        "## Data",
        *_data(params, splits),
        "## Intended use and limits",
        *_limits(intervals),
        "## Settings",
        _settings(params),
        "## Use",
        f"```bash\nretinanet predict photo.jpg --model models:/{name}@production\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _made_by(params: Params) -> str:
    tags = provenance_tags()
    commit = tags["git.commit"][:10] + (" with uncommitted changes" if tags["dirty"] == "true" else "")
    return (
        f"A RetinaNet detector with the backbone {params.model.backbone}, exported to ONNX and compared with PyTorch "
        f"on test images. Made from commit {commit}."
    )


def _metrics(intervals: Mapping) -> list[str]:
    lines = []
    for name in METRICS:
        row = intervals["metrics"][name]
        edges = "" if "no interval" in row else f" (95% interval {row['low']:.3f} to {row['high']:.3f})"
        lines.append(f"- {name}: **{row['value']:.3f}**{edges}")
    reasons = [row["no interval"] for row in intervals["metrics"].values() if "no interval" in row]
    lines.append(f"- {intervals['images']} test images: {intervals['independent units']} independent images or groups")
    lines += [f"- no 95% interval: {reasons[0]}"] if reasons else []
    return ["\n".join(lines)]


def _classes(rows: Sequence[Mapping[str, str]]) -> list[str]:
    lines = [
        f"- {_literal(row['class'])}: AP50 {_number(row['AP50'])}, AP {_number(row['AP'])}; scores from "
        f"{_number(row['threshold'])}: precision {_number(row['precision'])}, recall {_number(row['recall'])}; "
        f"{row['objects']} test objects"
        for row in rows[:MAX_CLASSES]
    ]
    if len(rows) > MAX_CLASSES:
        lines.append(f"- {len(rows) - MAX_CLASSES} more classes: `evaluate/per_class.csv` of the run")
    return ["\n".join(lines), "The score from which a detection of a class counts was chosen on val."]


def _data(params: Params, splits: Mapping[str, Path]) -> list[str]:
    download = params.download
    public = PUBLIC_SETS.get(download.source)
    terms = public.license if public else "not known to the pipeline; look at the source before you pass the model on"
    lines = [f"- source: {without_password(download.source_name())}", f"- license of the data: {terms}"]
    for split, path in splits.items():
        content = json.loads(path.read_text(encoding="utf-8"))
        objects = sum(not annotation.get("iscrowd") for annotation in content["annotations"])
        digest = sha256_of(path)[:16]
        lines.append(f"- {split}: {len(content['images'])} images, {objects} objects, sha256 `{digest}`")
    return ["\n".join(lines)]


def _limits(intervals: Mapping) -> list[str]:
    uncertain = [name for name in METRICS if "no interval" in intervals["metrics"][name]]
    lines = [
        "- For images like those of the source: the same kind of camera, scale, season and objects. Others were not "
        "tested; measure it on some of them first.",
        "- It finds only the classes above, and misses objects and invents others at the rates above. Do not base "
        "decisions about people or safety on single detections.",
        "- Totals of objects are biased by missed and false detections; `retinanet count` corrects them.",
    ]
    if uncertain:
        lines.append(f"- The test split is too small to say how exact {', '.join(uncertain)} are.")
    return ["\n".join(lines)]


def _settings(params: Params) -> str:
    values = flat(params.model_dump())
    return ", ".join(f"{key}: {values[key]}" for key in SETTINGS if key in values) + "."


def _shown_classes(names: Sequence[str]) -> str:
    shown = ", ".join(_literal(name) for name in names[:8])
    return shown + (f" and {len(names) - 8} more classes" if len(names) > 8 else "")


def _literal(name: str) -> str:
    short = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
    return "".join(f"\\{sign}" if sign in "*_`<[&" else sign for sign in " ".join(short.split()))


def _number(text: str) -> str:
    value = float(text or "nan")
    return "none" if math.isnan(value) else f"{value:.3f}"

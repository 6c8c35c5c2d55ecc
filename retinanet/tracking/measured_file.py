"""A model file as one side of a comparison: the settings that it carries, and its metrics on a test split."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from retinanet.config.params import flat
from retinanet.dataset.coco import read_coco
from retinanet.errors import WeightsError
from retinanet.export.metadata import KEY
from retinanet.export.runtimes import load_detector
from retinanet.images.reading import read_image
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.inference.detector import Detector
from retinanet.inference.results import coco_results
from retinanet.tracking.evaluations import StoredDetections
from retinanet.tracking.remeasure import evaluated, labels_in
from retinanet.tracking.sides import Side, Split

# Names of a weights file that params.yaml has under others.
ARCHITECTURE = {
    "anchor_sizes": "anchors.sizes",
    "scales_per_octave": "anchors.scales_per_octave",
    "aspect_ratios": "anchors.ratios",
    "anchor_convention": "anchors.convention",
}


def file_side(path: Path, split: Split, decoding: DecodeSettings, metric: str) -> Side:
    """An .onnx or .safetensors file, evaluated on the test split; decoding is for .safetensors, which carry none.

    Raises WeightsError, ImageError, or EvaluationError, e.g. for a class that the test split lacks.
    """
    detector = load_detector(path, decoding)
    test_set = read_coco(split.path)
    labels = labels_in(test_set, detector.class_names, str(path))
    results = []
    for image in tqdm(test_set.images, desc=f"evaluating {path.name}", leave=False, delay=1):
        (found,) = detector([read_image(Path(image.file_name), detector.reading)])
        in_test_set = Detections(found.boxes_xyxy, found.scores, labels[found.labels])
        results += coco_results(image.id, in_test_set, test_set.category_ids)
    value, matches = evaluated(test_set, results, metric, split.path)
    thresholds = dict(zip(detector.class_names, detector.thresholds, strict=True))
    stored = StoredDetections(results, thresholds)
    facts = _facts(path, detector) | {f"threshold of {name}": f"{value:g}" for name, value in thresholds.items()}
    return Side(str(path), facts, value, matches, lambda wanted: stored if wanted == split.digest else None, True)


def _facts(path: Path, detector: Detector) -> dict[str, str]:
    """Settings by their names in params.yaml, as far as there are such."""
    about = _about(path)
    model = {ARCHITECTURE.get(name, name): value for name, value in about.get("architecture", {}).items()}
    model |= {"short_side": detector.input_size.short_side, "long_side": detector.input_size.long_side}
    tree = {
        "model": model,
        "evaluate": about.get("decoding", {}),
        "tiling": detector.tiling._asdict(),
        "reading": detector.reading._asdict(),
    }
    return {"classes": ", ".join(detector.class_names)} | {name: str(value) for name, value in flat(tree).items()}


def _about(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        from retinanet.model.weights import read_about

        return read_about(path)
    import onnx

    model = onnx.load(path, load_external_data=False)
    found = [entry.value for entry in model.metadata_props if entry.key == KEY]
    if not found:  # load_detector has refused it already
        raise WeightsError(f"{path}: no metadata {KEY!r}; export it with `dvc repro export`")
    return json.loads(found[0])

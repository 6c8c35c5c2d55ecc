"""`retinanet explain`: a page with the heat maps of detections on any images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinanet.cli.inputs import read_ahead, relative_names
from retinanet.errors import ImageError, RetinanetError, WeightsError
from retinanet.explain.case_heats import explain_detections
from retinanet.explain.report import ExplainedImage, images_html
from retinanet.files import write_text
from retinanet.inference.detections import DecodeSettings, thresholds_text
from retinanet.inference.network import torch_detector
from retinanet.inference.tiling import cut
from retinanet.model.weights import TrainedModel, load_model
from retinanet.runtime import chosen_device


def load_explainable(path: Path) -> TrainedModel:
    """The trained model of a .safetensors file. Raises WeightsError for an exported model, which has no gradients."""
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: only .safetensors files can be explained; use --model models/model.safetensors")
    return load_model(path)


def write_explanations(
    path: Path,
    images: Sequence[Path],
    out: Path,
    decoding: DecodeSettings,
    score: float | None,
    count: int,
    method: str,
) -> list[str]:
    """Write out/index.html: each image with its detections, the best `count` explained; return unreadable images.

    Detections have at least this score, or without one that of their class, which was chosen on val. A line is printed
    for each image. Raises WeightsError, and ImageError if no image can be read.
    """
    trained = load_explainable(path)
    device = chosen_device()
    detector = torch_detector(trained, decoding, device)
    trained.model.to(device)
    names, failed = relative_names(images), []
    shown: list[ExplainedImage] = []
    for image_path, image in read_ahead(images, trained.reading):
        if isinstance(image, ImageError):
            failed.append(str(image))
            continue
        pixels = image.pixels
        detections = detector([pixels])[0].above(score if score is not None else detector.thresholds)
        found = explain_detections(trained, pixels, detections.rows(np.arange(min(count, len(detections)))), method)
        shown.append(ExplainedImage(names[image_path], pixels, detections, tuple(found)))
        tiles = len(cut(pixels.shape[0], pixels.shape[1], trained.tiling))
        note = f", cut into {tiles} tiles and explained tile by tile" if tiles > 1 else ""
        print(f"{image_path}: {len(detections)} detections, {len(found)} explained{note}", flush=True)
    if not shown:
        raise ImageError(f"no image can be read: {failed[0]}")
    scores = f"{score:g}" if score is not None else thresholds_text(detector.class_names, detector.thresholds)
    facts = {"model": str(path), "minimum scores": scores, "network": trained.model.architecture["backbone"]}
    try:
        write_text(out / "index.html", images_html(shown, trained.class_names, facts, method))
    except OSError as error:
        raise RetinanetError(f"{out}: cannot be written ({error.strerror}); choose another with --out") from error
    return failed

"""Inference, from a uint8 image to boxes, in each runtime beside torchvision's class and its ssdlite320.

    uv run python -m benchmarks.inference [--images 20] [--case resnet18 320]

Ours and torchvision's are the same network with the same weights: torchvision's `retinanet_resnet50_fpn` with this
backbone, 256 wide, for 20 classes. The weights are random, and the bias is such that 3,000 anchors and classes of the
image are above the threshold and reach the post-processing. Batch 1, on the CPU. Each has a process of its own, and
they detect by turns; the ratio to torchvision's class is the median over pairs, with the quartiles in brackets.
ssdlite320 resizes every image to 320 px.
"""

import argparse
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

from benchmarks.turns import Finish, Step, by_turns, ratio
from retinanet.config.params import load_params
from retinanet.export.runtimes import RUNTIMES
from retinanet.export.source import Source
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.inference.detector import Detector
from retinanet.inference.network import run_network, torch_detector
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel, from_torchvision
from retinanet.runtime import processor

CLASSES, CANDIDATES = 20, 3000
CASES = ("resnet18", "320"), ("resnet50", "640")
THEIRS = "torchvision"
COMPETITORS = (THEIRS, "ssdlite320", "PyTorch", *RUNTIMES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--case", nargs=2, metavar=("BACKBONE", "SIDE"), action="append")
    args = parser.parse_args()
    print(f"{processor()}; torch {torch.__version__}, OpenVINO's float weights in {RUNTIMES['openvino'].precision()}\n")
    print("| network | runtime | ms an image, median | p95 | times torchvision |")
    print("| --- | --- | --- | --- | --- |")
    for backbone, side in args.case or CASES:
        results = by_turns(_competitor, [(name, backbone, int(side)) for name in COMPETITORS], args.images)
        for name, result in zip(COMPETITORS, results, strict=True):
            seconds = result["seconds"]
            milliseconds = [1000 * statistics.median(seconds), 1000 * float(np.quantile(seconds, 0.95))]
            times = "1" if name == THEIRS else ratio(results[0]["seconds"], seconds)
            cells = [f"{backbone}, {side} px", name, *(f"{ms:.1f}" for ms in milliseconds), times]
            print(f"| {' | '.join(cells)} |", flush=True)


def _competitor(name: str, backbone: str, side: int) -> tuple[Step, Finish]:
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    if name == "ssdlite320":
        ssdlite = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=CLASSES
        )
        return _torchvisions(ssdlite, image), _nothing
    theirs, trained = _same_network(backbone, side, image)
    if name == THEIRS:
        return _torchvisions(theirs, image), _nothing
    if name == "PyTorch":
        detector = torch_detector(trained, STANDARD_DECODING)
    else:
        with tempfile.TemporaryDirectory() as folder:
            detector = _exported(name, Path(folder), trained, image)
    return lambda: detector([image]), _nothing


def _same_network(backbone: str, side: int, image: np.ndarray) -> tuple[torch.nn.Module, TrainedModel]:
    detection = torchvision.models.detection
    features = detection.backbone_utils.resnet_fpn_backbone(
        backbone_name=backbone,
        weights=None,
        returned_layers=[2, 3, 4],
        extra_blocks=torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256),
    )
    theirs = detection.RetinaNet(features, CLASSES, min_size=side, max_size=side, score_thresh=0.05).eval()
    settings = load_params().model.model_copy(
        update={"backbone": backbone, "pyramid_width": 256, "head_width": 256, "head_depth": 4}
        | {"head_norm": "none", "p6_from": "p5", "frozen_norm": True, "short_side": side, "long_side": side}
    )
    ours = RetinaNet(CLASSES, **settings.architecture()).eval()
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    with torch.no_grad():
        logits = run_network(ours, torch.from_numpy(image)[None]).logits.flatten()
        # So that CANDIDATES scores are above the threshold of 0.05.
        shift = math.log(0.05 / 0.95) - logits.topk(CANDIDATES).values[-1]
        theirs.head.classification_head.cls_logits.bias += shift
        ours.load_state_dict(from_torchvision(theirs.state_dict()))
    names = tuple(f"class {k}" for k in range(CLASSES))
    return theirs, TrainedModel(ours, names, tuple(range(1, CLASSES + 1)), InputSize(side, side))


def _exported(name: str, folder: Path, trained: TrainedModel, image: np.ndarray) -> Detector:
    calibration = folder / "image.png"
    Image.fromarray(image).save(calibration)
    source = Source(trained, STANDARD_DECODING, folder / RUNTIMES["onnx"].file_name, [calibration])
    for runtime in dict.fromkeys(("onnx", name)):
        RUNTIMES[runtime].write(folder / RUNTIMES[runtime].file_name, source)
    return RUNTIMES[name].open_detector(folder / RUNTIMES[name].file_name)


def _torchvisions(model: torch.nn.Module, image: np.ndarray) -> Step:
    model.eval()

    @torch.inference_mode()
    def step() -> None:
        model([torch.from_numpy(image).permute(2, 0, 1).float() / 255])

    return step


def _nothing(step_s: float) -> dict:
    return {}


if __name__ == "__main__":
    main()

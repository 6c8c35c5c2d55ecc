"""Training steps of this trainer and of torchvision's RetinaNet with its reference recipe, on the same images.

    uv run python -m benchmarks.training [--steps 20] [--objects 8] [--case resnet18 320 8]

Both train the network of torchvision's `retinanet_resnet50_fpn` (256 wide, four convolutions a subnet, frozen norms,
stem and first stage frozen, SGD): with ResNet-18 at 320 px and batch 8, then with ResNet-50 at 512 px and batch 4. Each
trainer has a process of its own, and they make their steps alternately, so that other load falls on both. The ratio is
the median over pairs of steps, with the quartiles in brackets. An image of COCO has 7 objects on average; this trainer
gains less with many objects, since it computes the box subnet only at foreground cells.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor

from benchmarks.turns import Finish, Step, by_turns, ratio, wait_for_device
from retinanet.config.params import load_params
from retinanet.dataset.samples import Batch
from retinanet.losses.detection import DetectionLoss, image_divisors
from retinanet.losses.matching import match_images
from retinanet.model.backbones import freeze_stages
from retinanet.model.retinanet import RetinaNet
from retinanet.runtime import chosen_device, keep_freed_memory
from retinanet.training.optim import compute_type
from retinanet.training.step import Learner, train_step

CLASSES = 20


class Case(NamedTuple):
    """side is in pixels, objects are those of each image."""

    backbone: str
    side: int
    batch_size: int
    objects: int


CASES = ("resnet18", "320", "8"), ("resnet50", "512", "4")
TRAINERS = "ours", "torchvision"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--objects", type=int, default=8, help="in an image")
    parser.add_argument("--case", nargs=3, metavar=("BACKBONE", "SIDE", "BATCH"), action="append")
    args = parser.parse_args()
    device = chosen_device()
    fastest = str(compute_type("auto", device)).removeprefix("torch.")
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}; auto precision is {fastest}\n")
    print("| network | precision | ours, images/s | torchvision fp32 | ratio | memory, ours / theirs | losses |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for backbone, side, batch_size in args.case or CASES:
        case = Case(backbone, int(side), int(batch_size), args.objects)
        for precision in ("fp32",) if fastest == "float32" else ("fp32", "auto"):
            print(
                _row(case, precision, *by_turns(_trainer, [(t, case, precision) for t in TRAINERS], args.steps)),
                flush=True,
            )


def _row(case: Case, precision: str, ours: dict, theirs: dict) -> str:
    speeds = [case.batch_size / statistics.median(measured["seconds"]) for measured in (ours, theirs)]
    cells = [
        f"{case.backbone}, {case.side} px, batch {case.batch_size}",
        precision,
        *(f"{speed:.2f}" for speed in speeds),
        ratio(theirs["seconds"], ours["seconds"]),
        f"{ours['megabytes']:.0f} / {theirs['megabytes']:.0f} MB",
        f"{ours['loss_share']:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def _trainer(trainer: str, case: Case, precision: str) -> tuple[Step, Finish]:
    images = torch.randint(0, 255, (case.batch_size, case.side, case.side, 3), dtype=torch.uint8)
    corner = torch.rand(case.batch_size, case.objects, 2) * case.side * 0.7
    boxes = torch.cat([corner, corner + 16 + torch.rand(case.batch_size, case.objects, 2) * case.side * 0.25], 2)
    labels = torch.randint(0, CLASSES, (case.batch_size, case.objects))
    make = _ours if trainer == "ours" else _theirs
    return make(case, precision, chosen_device(), images, boxes, labels)


def _ours(
    case: Case, precision: str, device: torch.device, images: Tensor, boxes: Tensor, labels: Tensor
) -> tuple[Step, Finish]:
    keep_freed_memory()
    params = load_params()
    network = {"backbone": case.backbone, "frozen_stages": 2, "frozen_norm": True, "pyramid_width": 256}
    network |= {"p6_from": "p5", "head_width": 256, "head_depth": 4, "head_norm": "none"}
    network |= {"short_side": case.side, "long_side": case.side}
    recipe = {"optimizer": "sgd", "ema_steps": 0, "precision": precision, "normalizer": "image", "max_grad_norm": 0.0}
    model = RetinaNet(CLASSES, **params.model.model_copy(update=network).architecture()).train()
    freeze_stages(model.backbone, 2)
    learner = Learner(model, params.train.model_copy(update=recipe), 1000, device)
    sizes = [(case.side, case.side)] * case.batch_size
    crowds = [torch.zeros(0, 4)] * case.batch_size
    batch = Batch(images, list(boxes), list(labels), crowds, sizes, list(range(case.batch_size)))

    def loss_share(step_s: float) -> dict:
        """The share of anchors, matching and losses, forward and backward."""
        with torch.no_grad():
            logits, deltas = model(model.normalize(images.to(device)))
        objects = [list(values.to(device)) for values in (boxes, labels)]
        times = []
        for _ in range(20):
            started = time.perf_counter()
            inputs = logits.detach().requires_grad_(), deltas.detach().requires_grad_()
            anchors = model.anchors(case.side, case.side)
            matched = match_images(anchors, objects[0])
            losses = DetectionLoss()(*inputs, anchors, matched, image_divisors(matched), *objects)
            (losses.classification + losses.box).backward()
            wait_for_device()
            times.append(time.perf_counter() - started)
        return {"loss_share": statistics.median(times) / step_s}

    return lambda: train_step(learner, [batch]), loss_share


def _theirs(
    case: Case, precision: str, device: torch.device, images: Tensor, boxes: Tensor, labels: Tensor
) -> tuple[Step, Finish]:
    detection = torchvision.models.detection
    backbone = detection.backbone_utils.resnet_fpn_backbone(
        backbone_name=case.backbone,
        weights=None,
        trainable_layers=3,
        returned_layers=[2, 3, 4],
        extra_blocks=torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256),
    )
    model = detection.RetinaNet(backbone, CLASSES, min_size=case.side, max_size=case.side).to(device).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.001, momentum=0.9, weight_decay=1e-4)
    # Its transforms return channels first, in 0..1.
    inputs = list((images.permute(0, 3, 1, 2).contiguous().float() / 255).to(device))
    targets = [{"boxes": b.to(device), "labels": x.to(device)} for b, x in zip(boxes, labels, strict=True)]

    def step() -> None:
        losses = model(inputs, targets)
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # its metric logger reads it at every step

    return step, lambda step_s: {}


if __name__ == "__main__":
    main()

"""Write docs/backbones.md, a table of backbones for `model.backbone`.

    uv run python -m benchmarks.backbones [NAME ...]

Every classification CNN of torchvision and one of each family of timm's, or those named. Size and cost are those of the
whole detector as params.yaml sets it, for one class; whether forward, backward and export work is tried with a narrow
pyramid and heads. Finished rows are kept, so an interrupted run continues.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from retinanet.config.model import Model
from retinanet.config.params import load_params
from retinanet.dataset.samples import Batch
from retinanet.export.onnx import open_detector, write
from retinanet.export.source import Source
from retinanet.files import write_text
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.receptive_fields import meta_twin
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel
from retinanet.training.step import Learner, train_step

TABLE = Path("docs/backbones.md")
SIDE = 640
# Transformers accept images of one size only, or have no feature maps at strides 8 and 16.
TRANSFORMERS = ("vit_", "swin_", "maxvit_")
TIMM = """
    convformer_s18 convnext_atto cs3darknet_focus_s csatv2 cspnext_tiny densenet121 dla46_c dpn48b edgenext_xx_small
    efficientvit_b0 ese_vovnet19b_slim_dw fasternet_t0 fastvit_t8 ghostnet_050 hardcorenas_a hgnetv2_b0 hrnet_w18_small
    inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small legacy_seresnet18 legacy_xception
    mambaout_femto mobilenetv3_small_050 mobileone_s0 mobilevitv2_050 nf_resnet26 rdnet_tiny regnetx_002
    repghostnet_050 repvit_m0_9 res2net50_14w_8s resnest14d resnet10t resnetv2_18 rexnet_100 selecsls42 skresnet18
    starnet_s1 swiftformer_xs tf_efficientnet_lite0 tresnet_m vgg11 xception41
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names or all_names()
    settings = load_params().model
    head = _head(settings)
    rows = _rows_done(head)
    for i, name in enumerate(names, start=1):
        if name not in rows:
            rows[name] = "| " + " | ".join([name, *_cells(name, settings)]) + " |"
            write_text(TABLE, head + "\n".join(rows[n] for n in sorted(rows)) + "\n")
        print(f"{i}/{len(names)} {rows[name]}", flush=True)


def all_names() -> list[str]:
    names = torchvision.models.list_models(module=torchvision.models)
    return [name for name in names if not name.startswith(TRANSFORMERS)] + [f"timm/{name}" for name in TIMM.split()]


def narrow(name: str) -> RetinaNet:
    """A detector of two classes with a narrow pyramid and heads, norms not frozen."""
    narrowed = {"backbone": name, "weights": "none", "frozen_norm": False, "frozen_stages": 0}
    narrowed |= {"pyramid_width": 16, "head_width": 16, "head_depth": 1, "head_norm": "none"}
    with warnings.catch_warnings():
        # Old networks use deprecated initializers.
        warnings.simplefilter("ignore")
        return RetinaNet(2, **load_params().model.model_copy(update=narrowed).architecture())


def train_one_step(model: RetinaNet, side: int = 128) -> None:
    """One training step, with the settings of params.yaml, on two images with one object.

    Raises TrainingError if the loss or the gradients are not finite, ArithmeticError if no gradient arrives.
    """
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    boxes, labels = [torch.tensor([[20.0, 20, 90, 90]]), torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0).long()]
    batch = Batch(images, boxes, labels, [torch.zeros(0, 4)] * 2, [(side, side)] * 2, [0, 1])
    # Without the averaged weights, which would be a second copy of the largest networks.
    settings = load_params().train.model_copy(update={"ema_steps": 0})
    train_step(Learner(model.train(), settings, 1, torch.device("cpu")), [batch])
    first = next(module for module in model.backbone.modules() if isinstance(module, nn.Conv2d))
    if first.weight.grad is None or not first.weight.grad.any():
        raise ArithmeticError("no gradient reaches the first layer")


def export_and_run(model: RetinaNet, folder: Path) -> None:
    """Write the model as ONNX and run it on images of two sizes, one and two at a time."""
    path = folder / "model.onnx"
    trained = TrainedModel(model.eval(), ("a", "b"), (1, 2), InputSize(640, 640))
    write(path, Source(trained, replace(STANDARD_DECODING, score_threshold=0.0), path))
    detector = open_detector(path)
    small, wide = (np.full((*size, 3), 90, np.uint8) for size in ((200, 200), (150, 300)))
    for found in (*detector([small]), *detector([wide, wide])):
        if not np.isfinite(found.boxes_xyxy).all():
            raise ArithmeticError("boxes are not finite")


def _cells(name: str, settings: Model) -> Iterator[str]:
    # Frozen norms have no parameters, so they are counted unfrozen.
    sized = RetinaNet(
        1, **settings.model_copy(update={"backbone": name, "weights": "none", "frozen_norm": False}).architecture()
    )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        meta_twin(sized)(torch.empty(1, 3, SIDE, SIDE, device="meta"))
    yield f"{sum(p.numel() for p in sized.parameters()) / 1e6:.1f}"
    yield f"{counter.get_total_flops() / 1e9:.1f}"
    del sized
    model = narrow(name)
    yield _tried(lambda: model.eval()(torch.zeros(1, 3, 128, 192)))
    yield _tried(lambda: train_one_step(model))
    with tempfile.TemporaryDirectory() as folder:
        yield _tried(lambda: export_and_run(model, Path(folder)))


def _tried(work: Callable[[], object]) -> str:
    try:
        work()
    except Exception as error:
        # The table shows any error.
        return f"no: {type(error).__name__} {' '.join(str(error).split())[:100]}".replace("|", "/")
    return "yes"


def _head(settings: Model) -> str:
    setting = f"{settings.pyramid_width} wide, heads {settings.head_width} wide and {settings.head_depth} deep"
    return (
        "# Backbones\n\n"
        "Values of `model.backbone`, by `uv run python -m benchmarks.backbones`. Parameters and GFLOPs (a multiply-add "
        "counts as two)\n"
        f"are of the whole detector for one class at {SIDE} x {SIDE} px: pyramid {setting}. Forward, backward and\n"
        "export to ONNX were tried for every classification CNN of torchvision and one of each family of timm. Other "
        "backbones of\ntimm work as well; the command measures any by name.\n\n"
        "| name | parameters, M | GFLOPs | forward | backward | export |\n| --- | --- | --- | --- | --- | --- |\n"
    )


def _rows_done(head: str) -> dict[str, str]:
    """The rows of the table by name; empty if it was made with other settings."""
    text = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
    rows = text.removeprefix(head).splitlines() if text.startswith(head) else []
    return {row.split("|")[1].strip(): row for row in rows}


if __name__ == "__main__":
    main()

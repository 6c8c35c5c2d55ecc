"""Picture in, Detections out, whatever runtime is underneath.

Imports torch only when it opens a torch model, so that a server of an ONNX model needs none.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from retinanet.errors import WeightsError
from retinanet.images.preprocess import fit_scale, pad_batch, padding_colour, resize_to, scaled_size
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.tiling import cut, join

if TYPE_CHECKING:
    from retinanet.model.retinanet import RetinaNet

# What runs a network: (pictures (N, H, W, 3) uint8, sizes (N, 2) int64) -> N Detections in input pixels.
Runtime = Callable[[np.ndarray, np.ndarray], list[Detections]]


@dataclass(frozen=True)
class DecodeSettings:
    """How scores become detections; the fields of params.evaluate with the same names."""

    score_threshold: float = 0.05
    nms_iou: float = 0.5
    candidates_per_level: int = 1000
    detections_per_image: int = 300


# Pixels of network input at a time, so that the maps of many pictures, or of one's many tiles, find room in memory.
BATCH_PIXELS = 2_000_000


@dataclass(frozen=True)
class Detector:
    """Call it with RGB pictures (H, W, 3) uint8 of any sizes; boxes come back in pixels of each.

    Pictures larger than the tiles that the network learnt from are cut likewise, and what was found is put together.
    """

    runtime: Runtime
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    short_side: int
    long_side: int
    padding: tuple[int, int, int]
    tiling: Tiling = UNCUT

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[Detections]:
        regions = [cut(picture.shape[0], picture.shape[1], self.tiling) for picture in pictures]
        tiles = [
            picture[region.top : region.bottom, region.left : region.right]
            for picture, of_picture in zip(pictures, regions, strict=True)
            for region in of_picture
        ]
        found = iter(self._whole(tiles))
        each = [[next(found) for _ in of_picture] for of_picture in regions]
        return [
            join(of_picture, in_tiles) if len(of_picture) > 1 else in_tiles[0]
            for of_picture, in_tiles in zip(regions, each, strict=True)
        ]

    def _whole(self, pictures: Sequence[np.ndarray]) -> list[Detections]:
        scales = [fit_scale(p.shape[0], p.shape[1], self.short_side, self.long_side) for p in pictures]
        sizes = [scaled_size(p.shape[0], p.shape[1], scale) for p, scale in zip(pictures, scales, strict=True)]
        found: list[Detections] = [Detections.none()] * len(pictures)
        # Only pictures of one size share a batch: what stands beside a picture must not change its detections.
        for size in dict.fromkeys(sizes):
            alike = [i for i, its_size in enumerate(sizes) if its_size == size]
            count = max(1, BATCH_PIXELS // (size[0] * size[1]))
            for rows in (alike[first : first + count] for first in range(0, len(alike), count)):
                batch = pad_batch([resize_to(pictures[i], size) for i in rows], self.padding)
                inside = np.array([size] * len(rows), np.int64)
                for i, detections in zip(rows, self.runtime(batch, inside), strict=True):
                    found[i] = _unscaled(detections, size, pictures[i].shape)
        return found


def load_detector(path: Path, settings: DecodeSettings | None = None, device: str = "cpu") -> Detector:
    """Open a .safetensors model that training wrote, or an .onnx one that export wrote. Raises WeightsError.

    settings apply to .safetensors; an .onnx file has its own inside.
    """
    if path.suffix == ".onnx":
        return _onnx_detector(path)
    if path.suffix == ".safetensors":
        from retinanet.model.weights import load_model

        loaded = load_model(path)
        classes = loaded.class_names, loaded.category_ids
        return torch_detector(loaded.model, *classes, settings or DecodeSettings(), device, loaded.tiling)
    raise WeightsError(f"{path}: a model is a .safetensors or an .onnx file")


def torch_detector(
    model: "RetinaNet",
    class_names: Sequence[str],
    category_ids: Sequence[int],
    settings: DecodeSettings,
    device: str = "cpu",
    tiling: Tiling = UNCUT,
) -> Detector:
    """A Detector of a RetinaNet in memory; the model is put in eval mode each time it runs."""
    import torch

    from retinanet.model.decode import decode

    model.to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(pictures: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        model.eval()
        logits, deltas = model(model.normalise(torch.from_numpy(pictures).to(device)))
        size = pictures.shape[1], pictures.shape[2]
        decoded = decode(
            logits,
            deltas,
            model.anchors(*size),
            model.level_sizes(*size),
            [(height, width) for height, width in sizes.tolist()],
            settings.score_threshold,
            settings.nms_iou,
            settings.candidates_per_level,
            settings.detections_per_image,
        )
        return [Detections(*(t.cpu().numpy() for t in (d.boxes_xyxy, d.scores, d.labels))) for d in decoded]

    sides = model.settings.short_side, model.settings.long_side
    return Detector(run, tuple(class_names), tuple(category_ids), *sides, padding_colour(model.backbone.mean), tiling)


def _onnx_detector(path: Path) -> Detector:
    import onnxruntime

    if not path.exists():
        raise WeightsError(f"{path} does not exist; `dvc repro export` makes it")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=_providers(onnxruntime))
        about = json.loads(session.get_modelmeta().custom_metadata_map["retinanet"])
    except (KeyError, ValueError, RuntimeError, onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf) as error:
        raise WeightsError(f"{path} is no model that `dvc repro export` wrote: {error}") from error

    def run(pictures: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        boxes, scores, labels, image = session.run(None, {"pictures": pictures, "sizes": sizes})
        found = Detections(boxes, scores, labels)
        return [found.rows(image == i) for i in range(len(pictures))]

    return Detector(
        run,
        tuple(about["class_names"]),
        tuple(about["category_ids"]),
        about["short_side"],
        about["long_side"],
        tuple(about["padding"]),
        Tiling(*about.get("tiling", UNCUT)),
    )


def _providers(onnxruntime: ModuleType) -> list[str]:
    # TensorRT is listed where the wheel knows of it, installed or not; the two below run wherever they are listed.
    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]


def _unscaled(detections: Detections, resized: tuple, original: tuple) -> Detections:
    ratio = np.array([original[1] / resized[1], original[0] / resized[0]] * 2, np.float32)
    return Detections(detections.boxes_xyxy * ratio, detections.scores, detections.labels)

"""RetinaNet: a classification network, a feature pyramid and two subnets (Lin et al. 2017, Focal Loss)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from retinanet.model.anchors import cell_anchors, level_anchors, octave_sizes
from retinanet.model.backbones import build_backbone
from retinanet.model.frozen_norm import freeze_norms
from retinanet.model.heads import box_subnet, classification_subnet
from retinanet.model.levels import LEVEL_STRIDES
from retinanet.model.pyramid import FeaturePyramid
from retinanet.model.receptive_fields import meta_twin


class RetinaNet(nn.Module):
    """inputs (N, 3, H, W), normalized -> logits (N, R, K) and deltas (N, R, 4).

    The R anchors run over the levels P3 to P7, then rows, columns, and the A anchors of a cell. H and W are multiples
    of 32. The K classes do not include a background class.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        num_classes: int,
        backbone: str,
        frozen_norm: bool,
        pyramid_width: int,
        p6_from: str,
        head_width: int,
        head_depth: int,
        head_norm: str,
        anchor_sizes: Sequence[float],
        scales_per_octave: int,
        aspect_ratios: Sequence[float],
        anchor_convention: str,
    ):
        """anchor_sizes are in pixels, one for each level; aspect_ratios are height / width."""
        super().__init__()
        # Saved in weights files: RetinaNet(num_classes, **architecture) builds the network again.
        self.architecture: dict[str, Any] = {
            "backbone": backbone,
            "frozen_norm": frozen_norm,
            "pyramid_width": pyramid_width,
            "p6_from": p6_from,
            "head_width": head_width,
            "head_depth": head_depth,
            "head_norm": head_norm,
            "anchor_sizes": list(anchor_sizes),
            "scales_per_octave": scales_per_octave,
            "aspect_ratios": list(aspect_ratios),
            "anchor_convention": anchor_convention,
        }
        self.num_classes, self.frozen_norm, self.anchor_convention = num_classes, frozen_norm, anchor_convention
        self.anchors_per_cell = scales_per_octave * len(aspect_ratios)
        self.backbone = build_backbone(backbone)
        if frozen_norm:
            freeze_norms(self.backbone)
        self.pyramid = FeaturePyramid(self.backbone.channels, pyramid_width, p6_from)
        tower = (pyramid_width, head_width, head_depth, head_norm)
        self.classification = classification_subnet(*tower, self.anchors_per_cell, num_classes=num_classes)
        self.box = box_subnet(*tower, self.anchors_per_cell)
        for level, size in enumerate(anchor_sizes):
            sizes = octave_sizes(size, scales_per_octave, anchor_convention)
            cell = cell_anchors(sizes, aspect_ratios, anchor_convention)
            self.register_buffer(f"cell_anchors_{level}", cell, persistent=False)
        self.register_buffer("mean", torch.tensor(self.backbone.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.backbone.std).view(3, 1, 1), persistent=False)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.heads(self.features(inputs))

    def features(self, inputs: Tensor) -> list[Tensor]:
        """The pyramid maps P3 to P7, (N, C, H_l, W_l) each."""
        return self.pyramid(self.backbone(inputs))

    def heads(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(logits, deltas) of pyramid maps."""
        return self.classification(features), self.box(features)

    def normalize(self, images: Tensor) -> Tensor:
        """RGB bytes (N, H, W, 3) -> inputs (N, 3, H, W) as the backbone expects them, channels last in memory."""
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std

    def anchors(self, height: int, width: int) -> Tensor:
        """(R, 4) xyxy in pixels of a network input of this size."""
        sizes = self.grid_sizes(height, width)
        return torch.cat([self.anchors_on(level, size, (height, width)) for level, size in enumerate(sizes)])

    def anchors_on(self, level: int, grid_size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
        """One level's anchors for a map of known size, as in tracing."""
        cell = self.get_buffer(f"cell_anchors_{level}")
        convention, stride = self.anchor_convention, LEVEL_STRIDES[level]
        return level_anchors(cell, grid_size, stride, image_size, convention, self.origin(level))

    def origin(self, level: int) -> float:
        """The pixel of the input on which the receptive field of a level's first cell is centered."""
        # Levels that the pyramid adds keep the origin of the backbone's last map.
        origins = self.backbone.origins
        return origins[min(level, len(origins) - 1)]

    def grid_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each pyramid level for an input of this size; measured once on shapes alone."""
        return self._grid_sizes(height, width)

    def anchors_per_level(self, height: int, width: int) -> list[int]:
        """Number of anchors of each level; they sum to R."""
        return [rows * columns * self.anchors_per_cell for rows, columns in self.grid_sizes(height, width)]

    @functools.cached_property
    def _grid_sizes(self) -> Callable[[int, int], list[tuple[int, int]]]:
        probe = nn.Sequential(meta_twin(self.backbone), meta_twin(self.pyramid))

        @functools.cache
        def measure(height: int, width: int) -> list[tuple[int, int]]:
            with torch.no_grad():
                maps = probe(torch.empty(1, 3, height, width, device="meta"))
            return [(f.shape[-2], f.shape[-1]) for f in maps]

        return measure

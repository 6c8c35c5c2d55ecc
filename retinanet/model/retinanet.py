"""RetinaNet: a classification network, a feature pyramid and two subnets (Lin et al. 2017, Focal Loss)."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from retinanet.config.settings import Model as ModelSettings
from retinanet.model.anchors import STRIDES, cell_anchors, level_anchors, level_sizes
from retinanet.model.backbones import build_backbone
from retinanet.model.frozen_norm import freeze_norms
from retinanet.model.heads import box_subnet, classification_subnet
from retinanet.model.pyramid import FeaturePyramid
from retinanet.model.receptive_fields import meta_twin


class RetinaNet(nn.Module):
    """images (N, 3, H, W), normalised -> logits (N, R, K) and deltas (N, R, 4).

    The R anchors run over the levels P3 to P7, then rows, columns, and the A anchors of a cell. H and W are multiples
    of 32. The K classes have no background among them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: ModelSettings, num_classes: int):
        super().__init__()
        self.settings, self.num_classes = settings, num_classes
        anchors = settings.anchors
        self.anchors_per_cell = anchors.scales_per_octave * len(anchors.ratios)
        self.backbone = build_backbone(settings.backbone)
        if settings.frozen_norm:
            freeze_norms(self.backbone)
        self.pyramid = FeaturePyramid(self.backbone.channels, settings.pyramid_width, settings.p6_from)
        tower = (settings.pyramid_width, settings.head_width, settings.head_depth, settings.head_norm)
        self.classification = classification_subnet(*tower, self.anchors_per_cell, num_classes=num_classes)
        self.box = box_subnet(*tower, self.anchors_per_cell)
        for level, size in enumerate(anchors.sizes):
            sizes = level_sizes(size, anchors.scales_per_octave, anchors.convention)
            cell = cell_anchors(sizes, anchors.ratios, anchors.convention)
            self.register_buffer(f"cell_anchors_{level}", cell, persistent=False)
        self.register_buffer("mean", torch.tensor(self.backbone.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.backbone.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """wanted (N, R) are the anchors whose deltas count, None is all; those of others may come as zeros."""
        return self.heads(self.features(images), wanted)

    def features(self, images: Tensor) -> list[Tensor]:
        """The pyramid maps P3 to P7, (N, C, H_l, W_l) each."""
        return self.pyramid(self.backbone(images))

    def heads(self, features: list[Tensor], wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(logits, deltas) of pyramid maps, with wanted as forward says."""
        return self.classification(features), self.box(features, wanted)

    def normalise(self, pictures: Tensor) -> Tensor:
        """RGB bytes (N, H, W, 3) -> images (N, 3, H, W) as the backbone expects them, channels last in memory."""
        return (pictures.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std

    def anchors(self, height: int, width: int) -> Tensor:
        """(R, 4) xyxy in pixels of a network input of this size."""
        sizes = self.grid_sizes(height, width)
        return torch.cat([self.anchors_on(level, size, (height, width)) for level, size in enumerate(sizes)])

    def anchors_on(self, level: int, grid_size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
        """One level's anchors, when the size of its map is known, as in a graph being traced."""
        cell = self.get_buffer(f"cell_anchors_{level}")
        convention = self.settings.anchors.convention
        return level_anchors(cell, grid_size, STRIDES[level], image_size, convention, self.origin(level))

    def origin(self, level: int) -> float:
        """The pixel of the input on which the first cell of a level's map is centred."""
        # The levels that the pyramid adds keep the place of the network's last.
        origins = self.backbone.origins
        return origins[min(level, len(origins) - 1)]

    def grid_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each pyramid level for an input of this size, measured once, without computing."""
        return self._grid_sizes(height, width)

    def level_sizes(self, height: int, width: int) -> list[int]:
        """How many of the R anchors each level has."""
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

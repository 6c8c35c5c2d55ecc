"""Section model of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from retinanet.config.fields import Count, Positive, Section


class Anchors(Section):
    sizes: Annotated[list[Positive], Field(min_length=5, max_length=5)]
    """Base anchor size in px of the network's input, for each of the levels P3 to P7."""
    scales_per_octave: Count
    """Number of anchor scales per level, evenly spaced (in log scale) between a size and its double."""
    ratios: Annotated[list[Positive], Field(min_length=1)]
    """Aspect ratios, height / width."""
    convention: Literal["exact", "torchvision"]
    """`torchvision` rounds anchors, as its published weights expect."""

    def grid(self) -> dict[str, Any]:
        """The arguments of retinanet.data_report.coverage.AnchorSettings."""
        return self.model_dump() | {"sizes": tuple(self.sizes), "ratios": tuple(self.ratios)}


class Model(Section):
    """The network, its initial weights and its input size."""

    backbone: str
    """Classification CNN of torchvision, or `timm/` and the name of one of timm's (docs/backbones.md)."""
    weights: str
    """Weights to start from: `auto`, `imagenet`, `none`, a file, a registered version ... (docs/training.md)."""
    frozen_stages: Annotated[int, Field(ge=0, le=5)]
    """Number of backbone stages that keep their initial weights, from stride 2 upward."""
    frozen_norm: bool
    """Keep the backbone's batch norm statistics and parameters as loaded."""
    pyramid_width: Count
    """Channels of the feature pyramid."""
    p6_from: Literal["c5", "p5"]
    """Input of P6: the backbone's last map (c5) or the pyramid's (p5)."""
    head_width: Count
    """Channels of the two subnets; with `head_norm: group` 64 or more, a multiple of 32."""
    head_depth: Count
    """Number of hidden convolutions in each subnet."""
    head_norm: Literal["none", "group"]
    """Normalization in the subnets: none or group norm."""
    anchors: Anchors
    short_side: Annotated[int, Field(ge=32)]
    """Images are resized to this shorter side in px, unless `long_side` is reached first; side of the training crop."""
    long_side: Annotated[int, Field(ge=32)]
    """Maximum longer side in px after resizing."""

    def architecture(self) -> dict[str, Any]:
        """The arguments of retinanet.model.retinanet.RetinaNet, except the number of classes."""
        return {
            "backbone": self.backbone,
            "frozen_norm": self.frozen_norm,
            "pyramid_width": self.pyramid_width,
            "p6_from": self.p6_from,
            "head_width": self.head_width,
            "head_depth": self.head_depth,
            "head_norm": self.head_norm,
            "anchor_sizes": list(self.anchors.sizes),
            "scales_per_octave": self.anchors.scales_per_octave,
            "aspect_ratios": list(self.anchors.ratios),
            "anchor_convention": self.anchors.convention,
        }

    @model_validator(mode="after")
    def _sides_and_widths(self) -> "Model":
        if self.long_side < self.short_side:
            raise ValueError(f"long_side is {self.long_side}; it must be at least short_side, {self.short_side}")
        if self.head_norm == "group" and (self.head_width % 32 or self.head_width < 64):
            raise ValueError(
                f"head_width is {self.head_width}; with head_norm: group it must be a multiple of 32, at least 64"
            )
        return self

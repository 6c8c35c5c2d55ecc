"""Section model of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from retinanet.config.fields import Count, Positive, Section


class Anchors(Section):
    sizes: Annotated[list[Positive], Field(min_length=5, max_length=5)]
    scales_per_octave: Count
    ratios: Annotated[list[Positive], Field(min_length=1)]
    convention: Literal["exact", "torchvision"]


class Model(Section):
    backbone: str
    weights: str
    frozen_stages: Annotated[int, Field(ge=0, le=5)]
    frozen_norm: bool
    pyramid_width: Count
    p6_from: Literal["c5", "p5"]
    head_width: Count
    head_depth: Count
    head_norm: Literal["none", "group"]
    anchors: Anchors
    short_side: Annotated[int, Field(ge=32)]
    long_side: Annotated[int, Field(ge=32)]

    def architecture(self) -> dict[str, Any]:
        """The arguments of retinanet.model.retinanet.RetinaNet, but for the number of classes."""
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
    def _sides_in_order(self) -> "Model":
        if self.long_side < self.short_side:
            raise ValueError(f"long_side is {self.long_side}; it must be at least short_side, {self.short_side}")
        if self.head_norm == "group" and (self.head_width % 32 or self.head_width < 64):
            raise ValueError(
                f"head_width is {self.head_width}; head_norm: group needs 64, 96, 128 ... for its 32 groups"
            )
        return self

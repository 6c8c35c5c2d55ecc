"""Sections train and runtime of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from retinanet.config.fields import Count, CountOrZero, NotNegative, Positive, Real, Section, Share


class Augment(Section):
    flip_horizontal: Share
    flip_vertical: Share
    rotate90: bool
    scale: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    multi_scale: Annotated[list[Positive], Field(min_length=1)]
    mosaic: Share
    brightness: NotNegative
    contrast: NotNegative
    saturation: NotNegative
    hue: Annotated[Real, Field(ge=0, le=0.5)]

    @field_validator("scale")
    @classmethod
    def _the_smaller_first(cls, scale: list[float]) -> list[float]:
        if scale[0] > scale[1]:
            raise ValueError(f"{scale} must be the smallest factor, then the largest")
        return scale


class _BoxLoss(Section):
    """A box loss and its parameters. One without parameters is written as its name alone."""

    kind: str

    @model_serializer(mode="wrap")
    def _name_alone(self, handler: SerializerFunctionWrapHandler) -> Any:
        content = handler(self)
        return self.kind if content == {"kind": self.kind} else content


class L1(_BoxLoss):
    kind: Literal["l1"]


class SmoothL1(_BoxLoss):
    kind: Literal["smooth_l1"]
    beta: NotNegative


class GIoU(_BoxLoss):
    kind: Literal["giou"]


def _from_name(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


# To add one: a class here, its function in retinanet/losses/detection.py, and a test.
BoxLoss = Annotated[L1 | SmoothL1 | GIoU, Field(discriminator="kind"), BeforeValidator(_from_name)]


class Train(Section):
    seed: CountOrZero
    epochs: Count
    patience: CountOrZero
    batch_size: Count
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Positive
    reference_batch_size: CountOrZero
    backbone_lr_multiplier: NotNegative
    weight_decay: NotNegative
    schedule: Literal["cosine", "multistep", "constant"]
    warmup_share: Share
    max_grad_norm: NotNegative
    ema_steps: CountOrZero
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    box_loss: BoxLoss
    box_weight: NotNegative
    class_weights: dict[str, NotNegative]
    normalizer: Literal["image", "batch", "moving"]
    crowds: Literal["ignored", "background"]
    validate_every: Count
    augment: Augment


class Runtime(Section):
    """How the machine is used. None of these changes what is trained, so none of them re-runs a stage."""

    workers: CountOrZero
    processes: Count
    accumulation_steps: Count
    checkpoint_minutes: Positive
    cache_images: bool

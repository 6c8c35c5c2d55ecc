"""Sections train and runtime of params.yaml."""

import math
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from retinanet.config.fields import (
    AutoOrCount,
    Count,
    CountOrZero,
    NotNegative,
    Orientation,
    Positive,
    Real,
    Section,
    Share,
)

# With `epochs: auto`: this many epochs, or as many as it takes for AUTO_STEPS steps on a small dataset.
AUTO_EPOCHS, AUTO_STEPS = 20, 1500


class Augment(Section):
    flip_horizontal: Share
    """Probability of a horizontal flip."""
    orientation: Literal["auto", "upright", "any"]
    """`any` adds vertical flips and quarter turns (aerial, microscope); `auto`: `any` if the source says so."""
    scale: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    """Range of the random scale factor, smallest and largest; an image is scaled before its crop."""
    multi_scale: Annotated[list[Positive], Field(min_length=1)]
    """Crop sides to draw from at each step, as factors of `model.short_side`."""
    mosaic: Share
    """Probability that a sample is a mosaic of four images."""
    brightness: NotNegative
    """Maximum change of brightness, as a factor: 0.2 is 0.8 to 1.2."""
    contrast: NotNegative
    """Maximum change of contrast, as a factor."""
    saturation: NotNegative
    """Maximum change of saturation, as a factor."""
    hue: Annotated[Real, Field(ge=0, le=0.5)]
    """Maximum shift of hue, as a share of the color circle."""

    @field_validator("scale")
    @classmethod
    def _smallest_first(cls, scale: list[float]) -> list[float]:
        if scale[0] > scale[1]:
            raise ValueError(f"{scale} must be the smallest factor, then the largest")
        return scale


class _BoxLoss(Section):
    """A box loss and its parameters. A loss without parameters is written as its name."""

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
    """Difference below which the loss is quadratic; 0 is L1."""


class GIoU(_BoxLoss):
    kind: Literal["giou"]


def _from_name(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


# To add a loss: a class here, its function in BOX_LOSSES of retinanet/losses/detection.py, and a test.
BoxLoss = Annotated[L1 | SmoothL1 | GIoU, Field(discriminator="kind"), BeforeValidator(_from_name)]


class Train(Section):
    """How the network is trained. Everything here changes the result; hardware settings are in `runtime`."""

    seed: CountOrZero
    """Seed of initial weights, order of images, augmentation and dropout."""
    epochs: AutoOrCount
    """Number of epochs; `auto`: 20, more on a small dataset, for at least 1500 steps; or as the source says."""
    patience: CountOrZero
    """Stop after this many validations without improvement of AP; 0: never."""
    batch_size: Count
    """Images per step, over all processes and micro-batches."""
    optimizer: Literal["adamw", "sgd"]
    """AdamW, or SGD with momentum 0.9."""
    learning_rate: Positive
    """Peak learning rate, for `reference_batch_size` if that is set."""
    reference_batch_size: CountOrZero
    """If not 0, the rate is `learning_rate` times `batch_size` / `reference_batch_size`."""
    backbone_lr_multiplier: NotNegative
    """Learning-rate multiplier for the backbone."""
    weight_decay: NotNegative
    """Weight decay; norms and biases do not decay."""
    schedule: Literal["cosine", "multistep", "constant"]
    """Learning rate over the steps: cosine to 0, x0.1 after 16/26 and after 22/26 of them, or constant."""
    warmup_share: Share
    """Share of the steps with linear warm-up."""
    max_grad_norm: NotNegative
    """Gradients are clipped to this norm; 0: not clipped."""
    ema_steps: CountOrZero
    """Time constant, in steps, of the exponential moving average (EMA) of the weights; 0: no average."""
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    """Precision of the network; `auto` is bf16 if the hardware is faster in it, otherwise fp32; fp16 needs a GPU."""
    compile: bool
    """Use torch.compile: minutes at the start, faster steps on a GPU."""
    box_loss: BoxLoss
    """Loss of the box subnet."""
    box_weight: NotNegative
    """Weight of the box loss in the total loss."""
    class_weights: dict[str, NotNegative]
    """Weights of the classification loss by class name, e.g. `{Tree: 2.0}`; other classes have 1."""
    normalizer: Literal["image", "batch", "moving"]
    """What losses are divided by: foreground anchors of each image, of the batch, or a moving average over steps."""
    crowds: Literal["ignored", "background"]
    """How anchors inside ignored regions (crowds, truncated objects) are treated."""
    validate_every: Count
    """Epochs between validations; the last epoch is always validated."""
    augment: Augment

    def epochs_for(self, images: int) -> int:
        """The number of epochs on so many images."""
        if self.epochs != "auto":
            return self.epochs
        steps = math.ceil(images / self.batch_size)
        return max(AUTO_EPOCHS, math.ceil(AUTO_STEPS / max(1, steps)))

    def for_data(self, orientation: Orientation, images: int, epochs: int | None = None) -> "Train":
        """The settings with those of the data instead of `auto`; epochs: those that its source says."""
        if self.augment.orientation != "auto":
            orientation = self.augment.orientation
        if self.epochs != "auto" or epochs is None:
            epochs = self.epochs_for(images)
        augment = self.augment.model_copy(update={"orientation": orientation})
        return self.model_copy(update={"augment": augment, "epochs": epochs})


class Runtime(Section):
    """Hardware settings. Changing these never re-runs a stage or discards a checkpoint."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    """Device for training and evaluation: cpu, cuda, cuda:1 ..., mps (Apple), or `auto`: a GPU if there is one."""
    workers: CountOrZero
    """Processes that load and augment images; 0: the training process itself."""
    processes: Count
    """Training processes of a host, one per GPU, started by torchrun."""
    accumulation_steps: Count
    """Gradient accumulation: number of micro-batches that a batch is divided into, if memory is short."""
    checkpoint_minutes: Positive
    """Minutes between checkpoints; one is also saved after each epoch."""
    cache_images: bool
    """Keep decoded, downscaled images in .cache/images, for photographs of many megapixels."""

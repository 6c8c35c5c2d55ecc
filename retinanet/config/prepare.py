"""Section prepare of params.yaml."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from retinanet.config.fields import Count, CountOrZero, Real, Section, Share


class Prepare(Section):
    format: str  # auto, or a key of retinanet.annotations.formats.FORMATS; stages/prepare.py checks it
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

"""Section prepare of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retinanet.config.fields import AutoOrCountOrZero, Count, Pattern, Real, Section, Share


class Prepare(Section):
    """How annotations are read, images are divided into splits, and large images are cut into tiles."""

    format: str
    """Annotation format: `auto` recognizes it; the others are in docs/data.md."""
    rename_classes: dict[str, str]
    """New class names by old ones; classes with the same new name are merged."""
    val_share: Share
    """Share of the images for val without official splits; share of train if official val or test is missing."""
    test_share: Share
    """Share of the images for test, if the source has no official splits."""
    split_seed: int
    """Seed of the splits."""
    group_column: str
    """Column or key of the annotations with the image's group (scene, patient, video); a group stays in one split."""
    group_pattern: Pattern
    """Instead of `group_column`: regular expression for paths in data/raw whose first (group) is the image's group."""
    near_duplicates: Literal["together", "apart"]
    """Whether near-duplicates, images that look the same, stay in one split."""
    tile_size: AutoOrCountOrZero
    """Side of a tile in px; larger images are cut into tiles; 0: never; `auto`: if objects would be too small."""
    tile_overlap: Annotated[Real, Field(ge=0, lt=1)]
    """Overlap of neighboring tiles, as a share of `tile_size`; tiles of val and test do not overlap."""
    min_visible: Share
    """Minimum share of a box inside a tile for an object there; below it, a truncated object, which is ignored."""
    max_pixels: Count
    """Maximum number of pixels of an image; larger images are skipped."""
    white_level: Annotated[int, Field(ge=1, le=65_535)]
    """Value of 16-bit images that becomes white, e.g. 4095 if they hold 12-bit data; smaller values become darker."""
    max_skipped: Share
    """Maximum share of unusable images; with more of them the stage fails."""

    @model_validator(mode="after")
    def _shares_leave_train_images(self) -> "Prepare":
        if self.val_share + self.test_share >= 1:
            total = self.val_share + self.test_share
            raise ValueError(f"val_share + test_share is {total:g}; it must be below 1, to leave images for train")
        return self

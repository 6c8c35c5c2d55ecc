"""What holds for all of the data: tile size, orientation and epochs, set by the user, by the source or by the data."""

from collections.abc import Sequence

from retinanet.config.download import Package
from retinanet.config.prepare import Prepare
from retinanet.images.preprocess import InputSize
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.decisions import Decisions
from retinanet.prepare.tile_size import choose_tile_size


def decide(
    settings: Prepare, package: Package | None, input_size: InputSize, images: Sequence[CheckedImage]
) -> tuple[Decisions, list[str]]:
    """The decisions, and a remark with the reason for a tile size that is `auto`; package: the source, if it is one."""
    orientation = package.orientation if package else "upright"
    epochs = package.epochs if package else None
    if settings.tile_size != "auto":
        return Decisions(settings.tile_size, settings.tile_overlap, orientation, epochs), []
    if package:
        tile_size, reason = package.tile_size, f"tiles of {package.tile_size} px, by download.package.tile_size"
    else:
        tile_size, reason = choose_tile_size(images, input_size)
    return Decisions(tile_size, settings.tile_overlap, orientation, epochs), [f"prepare.tile_size is auto: {reason}"]

"""Images kept on disk as training needs them, for when decoding large ones takes longer than a step."""

import hashlib
import os
from pathlib import Path

import numpy as np

from retinanet.errors import ImageError, disk_full
from retinanet.images.preprocess import resize_to, scaled_size
from retinanet.images.reading import read_image


class ImageCache:
    """Arrays by the sha256 of the image's file and the size that it was brought to, so that none is ever stale."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, path: Path, size: tuple[int, int], scale: float) -> np.ndarray:
        """The image (H, W, 3) uint8, shrunk by `scale` where that is below 1. size: its (height, width) as it is.

        Raises ImageError. On a full disk the image is returned and not kept.
        """
        scale = min(scale, 1.0)
        height, width = scaled_size(*size, scale)
        try:
            with path.open("rb") as file:
                kept = self.folder / f"{hashlib.file_digest(file, 'sha256').hexdigest()}-{height}x{width}.npy"
                found = _load(kept)
                if found is not None:
                    return found
                file.seek(0)
                image = resize_to(read_image(file, scale=scale), (height, width))
        except FileNotFoundError as error:
            raise ImageError(f"{path}: there is no such file") from error
        _keep(kept, image)
        return image


def _load(path: Path) -> np.ndarray | None:
    try:
        return np.load(path)
    except FileNotFoundError:
        return None
    # A power cut can leave a file without all of its content.
    except (ValueError, EOFError):
        return None


def _keep(path: Path, image: np.ndarray) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")  # every worker has its own
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, image)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if not disk_full(error):
            raise ImageError(f"{path}: {error.strerror}; set train.cache_images: false") from error

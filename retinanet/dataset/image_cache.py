"""Cache of resized images on disk, for data whose decoding takes longer than a training step."""

import hashlib
import os
from pathlib import Path

import numpy as np

from retinanet.dataset.coco import ImageInfo
from retinanet.errors import ImageError, disk_full
from retinanet.images.preprocess import resize_to, scaled_size
from retinanet.images.reading import STANDARD_READING, Reading, read_image


class ImageCache:
    """Arrays by the sha256 of the image file, the size after resizing and the white level: entries cannot be stale."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, path: Path, info: ImageInfo, scale: float, reading: Reading = STANDARD_READING) -> np.ndarray:
        """The image (H, W, 3) uint8, resized by `scale` if that is below 1. info has its original size.

        Raises ImageError. On a full disk, the image is returned without being cached.
        """
        scale = min(scale, 1.0)
        height, width = scaled_size(info.height, info.width, scale)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                entry = self.folder / f"{digest}-{height}x{width}-{reading.white_level}.npy"
                cached = _load(entry)
                if cached is not None:
                    return cached
                file.seek(0)
                image = resize_to(read_image(file, reading, scale), (height, width))
        except FileNotFoundError as error:
            raise ImageError(f"{path}: no such file") from error
        _store(entry, image)
        return image


def _load(path: Path) -> np.ndarray | None:
    try:
        return np.load(path)
    except FileNotFoundError:
        return None
    # A power failure can leave an incomplete file.
    except (ValueError, EOFError):
        return None


def _store(path: Path, image: np.ndarray) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")  # one for each worker
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, image)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if not disk_full(error):
            raise ImageError(f"{path}: {error.strerror}; set runtime.cache_images: false") from error

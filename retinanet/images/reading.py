"""The one loader of pictures: a file or bytes in, RGB out, or a PictureError."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from retinanet.errors import PictureError
from retinanet.files import sha256_of

# What Pillow decodes by itself: its other formats start programs (EPS) or hold no photographs.
EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
}
FORMATS = [name for name in EXTENSIONS if name != "MPO"]  # those files open as JPEG first
PICTURE_SUFFIXES = frozenset(suffix for suffixes in EXTENSIONS.values() for suffix in suffixes)

THUMBNAIL = (18, 16)  # width, height
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")

# read_picture has a limit of its own, which a person can set.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class PictureFacts:
    """What reading a whole picture showed; size as read, that is upright.

    traits: what was not plain 8-bit RGB. thumbnail: THUMBNAIL grey values, for finding pictures that look the same.
    """

    width: int
    height: int
    sha256: str
    traits: tuple[str, ...]
    thumbnail: bytes = b""


def read_picture(source: Path | str | BinaryIO, max_pixels: int = 100_000_000, scale: float = 1.0) -> np.ndarray:
    """Decode a picture, whole and upright, to (H, W, 3) uint8 RGB.

    Grey, palette, CMYK, 1-bit and animated (first frame) pictures become RGB, transparency is dropped, 16-bit grey is
    scaled to 8. A JPEG that will be shrunk by `scale` may come at 1/2, 1/4 or 1/8 of its size, though never smaller
    than that. Raises PictureError when the file is missing, damaged, no picture, or larger than max_pixels.
    """
    return _decode(source, max_pixels, scale)[0]


def inspect_picture(path: Path, max_pixels: int = 100_000_000) -> PictureFacts:
    """Read a picture as read_picture does and tell what it is. Raises PictureError."""
    picture, traits = _decode(path, max_pixels)
    # reducing_gap: in two steps, the first of which averages whole blocks quickly.
    thumbnail = Image.fromarray(picture).resize(THUMBNAIL, Image.Resampling.BOX, reducing_gap=2.0).convert("L")
    return PictureFacts(picture.shape[1], picture.shape[0], sha256_of(path), traits, thumbnail.tobytes())


def upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height as read_picture would give them, from the file's header alone; None where it has none."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = image.getexif().get(ORIENTATION, 1) in range(5, 9)
            return (image.height, image.width) if turned else image.size
    # As in _decode: damaged headers make anything of a decoder. The check of pictures says what is wrong.
    except Exception:
        return None


def _decode(source: Path | str | BinaryIO, max_pixels: int, scale: float = 1.0) -> tuple[np.ndarray, tuple[str, ...]]:
    name = str(source) if isinstance(source, Path | str) else str(getattr(source, "name", "the picture"))
    try:
        with Image.open(source, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise PictureError(
                    f"{name}: {width} x {height} is more than {max_pixels} pixels; cut it, or raise the limit"
                )
            if scale < 1:
                image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
            image.load()
            traits = _traits(image, Path(name).suffix.lower() if name != "the picture" else "")
            return _to_rgb(_upright(image), name), traits
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"{name}: there is no such file") from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{name}: {_what_it_is(source)}; a picture is needed (JPEG, PNG, TIFF …)") from error
    # Decoders raise whatever a damaged header makes of them: struct.error, IndexError, SyntaxError, MemoryError …
    except Exception as error:
        raise PictureError(f"{name}: damaged or truncated ({error}); fetch it again") from error


def _upright(image: Image.Image) -> Image.Image:
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        return ImageOps.exif_transpose(image)
    return image


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode in SIXTEEN_BIT:
        # Pillow's own conversion would clip all above 255 to white.
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise PictureError(f"{name}: has floating-point samples of unknown range; convert it to 8 or 16 bit")
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _traits(image: Image.Image, suffix: str) -> tuple[str, ...]:
    by_mode = {"L": "grey", "P": "palette", "PA": "palette", "CMYK": "CMYK", "1": "1-bit", "RGBA": "alpha"}
    by_mode |= {"LA": "alpha", "La": "alpha", "RGBa": "alpha"} | dict.fromkeys(SIXTEEN_BIT, "16-bit")
    traits = [by_mode[image.mode]] if image.mode in by_mode else []
    if getattr(image, "is_animated", False) and image.format != "MPO":
        traits.append("animated")
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        traits.append("EXIF-rotated")
    if suffix and image.format and suffix not in EXTENSIONS[image.format]:
        traits.append("wrong extension")
    return tuple(traits)


def _what_it_is(source: Path | str | BinaryIO) -> str:
    if not isinstance(source, Path | str):
        return "no picture"
    with open(source, "rb") as file:
        start = file.read(512)
    if not start:
        return "has 0 bytes"
    return "is an HTML page" if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")) else "no picture"

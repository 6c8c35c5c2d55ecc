"""Load images from files or bytes as RGB arrays; every failure is an ImageError."""

import importlib
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps

from retinanet.errors import ImageError
from retinanet.files import sha256_of

# Pillow's other formats start programs (EPS) or hold no photographs.
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
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
# MPO files open as JPEG first. HEIF needs pillow-heif, and is read from files only, never from a service's requests.
PILLOW_FORMATS = [name for name in EXTENSIONS if name not in ("MPO", "HEIF")]
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
IMAGE_SUFFIXES = frozenset(suffix for suffixes in EXTENSIONS.values() for suffix in suffixes)

THUMBNAIL = (18, 16)  # width, height
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")


class Reading(NamedTuple):
    """How image files become arrays: images of more than max_pixels are refused, and white_level is the value of
    16-bit images that becomes white, e.g. 4095 if they hold 12-bit data."""

    max_pixels: int = 100_000_000
    white_level: int = 65_535


STANDARD_READING = Reading()


@dataclass(frozen=True)
class ImageFacts:
    """Facts about a decoded image; width and height are those of the upright image.

    traits lists differences from plain 8-bit RGB. thumbnail has THUMBNAIL gray values, to find near-duplicates.
    brightest is the highest value of a 16-bit image, None for others.
    """

    width: int
    height: int
    sha256: str
    traits: tuple[str, ...]
    thumbnail: bytes = b""
    brightest: int | None = None


class Decoded(NamedTuple):
    """An image (H, W, 3) uint8 RGB; the other fields are those of ImageFacts."""

    pixels: np.ndarray
    traits: tuple[str, ...]
    brightest: int | None


def read_image(source: Path | str | BinaryIO, reading: Reading = STANDARD_READING, scale: float = 1.0) -> np.ndarray:
    """Decode an image to an upright (H, W, 3) uint8 RGB array.

    Gray, palette, CMYK, 1-bit and animated (first frame) images become RGB, transparency is dropped, 16-bit gray is
    scaled to 8. A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, but not smaller than `scale` times its size.
    Raises ImageError if the file is missing, damaged, not an image, or larger than reading.max_pixels.
    """
    return decode_image(source, reading, scale).pixels


def inspect_image(path: Path, reading: Reading = STANDARD_READING) -> ImageFacts:
    """Decode an image like read_image and return facts about it. Raises ImageError."""
    image, traits, brightest = decode_image(path, reading, remedy="cut it, or raise prepare.max_pixels")
    # reducing_gap: a fast block average first, then the exact resize.
    thumbnail = Image.fromarray(image).resize(THUMBNAIL, Image.Resampling.BOX, reducing_gap=2.0).convert("L")
    return ImageFacts(image.shape[1], image.shape[0], sha256_of(path), traits, thumbnail.tobytes(), brightest)


def upright_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of the array that read_image would return, from the header alone; None if it has no size."""
    try:
        with _open(path) as image:
            is_rotated = image.getexif().get(ORIENTATION, 1) in range(5, 9)
            return (image.height, image.width) if is_rotated else image.size
    # As in decode_image, a damaged header raises anything. The check of images reports it.
    except Exception:
        return None


def stored_size(source: Path | BinaryIO) -> tuple[int, int] | None:
    """(width, height) in the header, before the image is turned upright; nothing is decoded. None if it has no size."""
    try:
        with _open(source) as image:
            return image.size
    except Exception:
        return None


def decode_image(
    source: Path | str | BinaryIO, reading: Reading = STANDARD_READING, scale: float = 1.0, remedy: str = "cut it"
) -> Decoded:
    """Decode like read_image, and list how the file differs from plain 8-bit RGB. Raises ImageError."""
    is_path = isinstance(source, Path | str)
    name = str(source) if is_path else str(getattr(source, "name", "the image"))
    try:
        if is_path:
            _check_regular(Path(name))
        with _open(source) as image:
            width, height = image.size
            if width * height > reading.max_pixels:
                raise ImageError(f"{name}: {width} x {height} is more than {reading.max_pixels} pixels; {remedy}")
            if scale < 1:
                image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
            image.load()
            traits = _traits(image, Path(name).suffix.lower() if name != "the image" else "")
            brightest = int(np.asarray(image).max()) if image.mode in SIXTEEN_BIT else None
            return Decoded(_to_rgb(_upright(image), name, reading.white_level), traits, brightest)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read; check its permissions") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_describe(source)}; expected JPEG, PNG, TIFF …") from error
    # Damaged files make decoders raise anything: struct.error, IndexError, SyntaxError, MemoryError ...
    except Exception as error:
        raise ImageError(f"{name}: damaged or truncated ({error}); fetch it again") from error


def _check_regular(path: Path) -> None:
    """Raise ImageError for a folder, a broken link or a pipe, which nothing may ever write to."""
    if path.is_dir():
        raise ImageError(f"{path}: is a folder, not an image; rename it")
    if path.is_symlink() and not path.exists():
        raise ImageError(f"{path}: is a link to {path.readlink()}, which does not exist; restore or remove it")
    if path.exists() and not path.is_file():
        raise ImageError(f"{path}: is not a regular file; save the image to one")


@contextmanager
def _open(source: Path | str | BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """Open as Image.open does, but without Pillow's limit on pixels, which is global to the process.

    Nothing is decoded yet: the caller checks the size first.
    """
    with (
        open(source, "rb") if isinstance(source, Path | str) else nullcontext(source) as file,
        _identify(file, str(getattr(file, "name", ""))) as image,
    ):
        yield image


def _identify(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    Image.init()
    file.seek(0)
    start = file.read(16)
    is_heif = start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS
    for format_name in [*PILLOW_FORMATS, *(["HEIF"] if is_heif and name and _heif_opens() else [])]:
        plugin, accepts = Image.OPEN[format_name]
        # For a format that this build of Pillow lacks, `accepts` returns a string.
        if accepts is not None and accepts(start) is not True:
            continue
        file.seek(0)
        with suppress(SyntaxError, IndexError, TypeError, struct.error):
            return plugin(file, name)
    if is_heif:
        raise ImageError(
            f"{name or 'the image'}: is HEIC; convert it to JPEG" + (", or install pillow-heif" if name else "")
        )
    raise Image.UnidentifiedImageError(name)


def _heif_opens() -> bool:
    """Whether the user has installed pillow-heif, which is registered with Pillow."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def _upright(image: Image.Image) -> Image.Image:
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        return ImageOps.exif_transpose(image)
    return image


def _to_rgb(image: Image.Image, name: str, white_level: int) -> np.ndarray:
    if image.mode in SIXTEEN_BIT:
        # Pillow's conversion would clip values above 255 to white.
        gray = np.clip(np.asarray(image).astype(np.int64), 0, white_level)
        return np.repeat(((gray * 255 + white_level // 2) // white_level).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ImageError(f"{name}: has floating-point samples of unknown range; convert it to 8 or 16 bit")
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _traits(image: Image.Image, suffix: str) -> tuple[str, ...]:
    by_mode = {"L": "gray", "P": "palette", "PA": "palette", "CMYK": "CMYK", "1": "1-bit", "RGBA": "alpha"}
    by_mode |= {"LA": "alpha", "La": "alpha", "RGBa": "alpha"} | dict.fromkeys(SIXTEEN_BIT, "16-bit")
    traits = [by_mode[image.mode]] if image.mode in by_mode else []
    if getattr(image, "is_animated", False) and image.format != "MPO":
        traits.append("animated")
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        traits.append("EXIF-rotated")
    if suffix and image.format and suffix not in EXTENSIONS[image.format]:
        traits.append("wrong extension")
    return tuple(traits)


def _describe(source: Path | str | BinaryIO) -> str:
    if not isinstance(source, Path | str):
        return "is not an image"
    with open(source, "rb") as file:
        start = file.read(512)
    if not start:
        return "has 0 bytes"
    return (
        "is an HTML page"
        if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))
        else "is not an image"
    )

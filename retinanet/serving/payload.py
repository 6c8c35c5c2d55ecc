"""Images as requests bring them, and detections as answers show them; MLflow's service uses the same."""

import base64
import binascii
import io
from collections.abc import Sequence

import numpy as np

from retinanet.errors import ImageError
from retinanet.images.reading import Reading, read_image, stored_size
from retinanet.images.tiles import Tiling
from retinanet.inference.detections import Detections
from retinanet.inference.tiling import cut

# A scan of a progressive JPEG refines all of its pixels: a small file of many scans takes minutes to decode.
MAX_JPEG_SCANS = 100
START_OF_SCAN = b"\xff\xda"


def decode_base64(text: object, max_bytes: int) -> bytes:
    """The bytes of an encoded image. Raises ImageError, also for a path or a URL: nothing is opened."""
    if not isinstance(text, str):
        raise ImageError(f'"image" is {type(text).__name__}; it must be the base64 text of an encoded image')
    if len(text) * 3 // 4 > max_bytes:
        raise ImageError(f"the image has more than {max_bytes} bytes; send a smaller one")
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError('"image" is not base64; paths and URLs are not opened') from error
    if not content:
        raise ImageError('"image" is empty; it must be the base64 text of an encoded image')
    return content


def check_image(content: bytes, tiling: Tiling, max_pixels: int, max_tiles: int | None) -> int:
    """The pixels of an image, from its header. Raises ImageError if decoding or detecting would take too long.

    0 if the header cannot be read: decoding says why.
    """
    width, height = stored_size(io.BytesIO(content)) or (0, 0)
    if width * height > max_pixels:
        raise ImageError(f"the image has {width} x {height} pixels; at most {max_pixels} are accepted")
    # As many whether the image is turned or not.
    count = len(cut(height, width, tiling)) if width * height else 0
    if max_tiles is not None and count > max_tiles:
        raise ImageError(
            f"the image of {width} x {height} pixels would be cut into {count} tiles; at most {max_tiles} are "
            "accepted: send it in parts"
        )
    if content.startswith(b"\xff\xd8") and content.count(START_OF_SCAN) > MAX_JPEG_SCANS:
        raise ImageError(f"the image is a JPEG of more than {MAX_JPEG_SCANS} scans; save it again")
    return width * height


def decode_image(content: bytes, reading: Reading) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8. Raises ImageError."""
    return read_image(io.BytesIO(content), reading)


def result_of(detections: Detections, class_names: Sequence[str]) -> dict:
    """The answer for one image: boxes xyxy in pixels, scores, labels (class names), and no error."""
    return {
        "boxes": [[round(edge, 2) for edge in box] for box in detections.boxes_xyxy.astype(float).tolist()],
        "scores": [round(score, 4) for score in detections.scores.astype(float).tolist()],
        "labels": [class_names[label] for label in detections.labels],
        "error": None,
    }


def error_result(reason: str) -> dict:
    """The answer for an image that has no detections because of an error."""
    return {"boxes": [], "scores": [], "labels": [], "error": reason}

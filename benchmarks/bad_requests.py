"""Requests that a service must refuse or answer with an error for their image, never with a 5xx."""

import base64
import io
import json
import struct
import zlib
from typing import Any, NamedTuple

from PIL import Image

JSON = "application/json"


class BadRequest(NamedTuple):
    """A body, or an image to put into a body of the form that a service takes."""

    image: Any = None
    body: bytes | None = None
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def bad_requests() -> dict[str, BadRequest]:
    """The requests by name."""
    jpeg = io.BytesIO()
    Image.effect_noise((64, 48), 50).save(jpeg, "JPEG")
    images: dict[str, Any] = {
        "an empty text": "",
        "no base64": "####",
        "a truncated JPEG": _base64(jpeg.getvalue()[:400]),
        "a decompression bomb": _base64(_png_header(30_000, 30_000)),
        "SVG": _base64(b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'),
        "text": _base64(b"no image at all"),
        "a path": "/etc/passwd",
        "a URL": "http://127.0.0.1:9/a.png",
        "a number": 3,
        "nested lists": [[["a"]]],
        "null": None,
    }
    bodies = {
        "an empty body": BadRequest(body=b""),
        "no JSON": BadRequest(body=b"{'images': ["),
        "a list instead of an object": BadRequest(body=b"[1, 2]"),
        "missing fields": BadRequest(body=b"{}"),
        "deep nesting": BadRequest(body=b'{"images":' + b"[" * 10_000),
        "no UTF-8": BadRequest(body=b'{"images": ["\xff\xfe"]}'),
        "a wrong content type": BadRequest(body=jpeg.getvalue(), content_type="image/jpeg"),
        "a form without a boundary": BadRequest(body=b"--x\r\n", content_type="multipart/form-data"),
        "a header of 100 kB": BadRequest(body=b"{}", headers=(("X-Long", "a" * 100_000),)),
        "a threshold that is NaN": BadRequest(
            body=json.dumps({"images": [_base64(jpeg.getvalue())], "score_threshold": float("nan")}).encode()
        ),
    }
    return {name: BadRequest(image=image) for name, image in images.items()} | bodies


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _png_header(width: int, height: int) -> bytes:
    """A PNG of one color, so small that a service would have to decompress it to see how large it is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + chunk(b"IEND", b"")

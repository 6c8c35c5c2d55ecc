"""The limits of the service. Each field is an option of `retinanet serve`."""

from dataclasses import dataclass, field


def _limit(default: int, help: str) -> int:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Limits:
    """What one request may take, and how many images may wait."""

    body_mb: int = _limit(32, "megabytes of a request's body")
    images: int = _limit(64, "images of a request")
    megapixels: int = _limit(0, "megapixels of an image; 0: as prepare.max_pixels, which the model keeps")
    tiles: int = _limit(200, "tiles that an image may be cut into, by a model that was trained on tiles")
    queue: int = _limit(128, "images that may wait; requests beyond are answered with 503")
    seconds: int = _limit(30, "seconds of a request, from its first byte to its answer")

    @property
    def body_bytes(self) -> int:
        return self.body_mb * 1_000_000

    @property
    def pixels(self) -> int:
        return self.megapixels * 1_000_000

"""What a registry has in production."""

from retinanet.tracking.registry import at_alias
from retinanet.tracking.store import open_client

MODEL = "retinanet"


def in_production() -> int | None:
    """The number of the version in production."""
    return _number("production")


def previous() -> int | None:
    """The number of the version that the alias `previous` names."""
    return _number("previous")


def _number(alias: str) -> int | None:
    version = at_alias(open_client(), MODEL, alias)
    return int(version.version) if version else None

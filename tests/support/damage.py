"""Random damage of files and of JSON values, from a random generator with a seed."""

import random
from collections.abc import Iterator
from typing import Any

BAD_VALUES: tuple = (
    None,
    True,
    [],
    {},
    "",
    "x",
    "\ud800",
    "../x",
    "\0",
    0,
    -1,
    1.5,
    1e308,
    10**400,
    float("nan"),
    float("inf"),
)
BAD_VALUES += ([[[]]], {"a": {"b": []}}, "9" * 5000, "a" * 5000, [float("nan")] * 4, "1e999", "<x>", "- : [")


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Flip, truncate, overwrite, duplicate, remove or replace some of the bytes."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 30))):
        at = chance.randrange(len(data) or 1)
        length = chance.choice((1, 4, 64, 1000))
        match chance.randrange(6):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:]
            case 2:
                data[at : at + length] = bytes(len(data[at : at + length]))
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[at : at + length]
            case 5:
                data[at : at + length] = chance.randbytes(length)
    return bytes(data)


def with_bad_value(content: Any, chance: random.Random) -> Any:
    """Replace, remove or duplicate one value in a tree of lists and dicts."""
    entries = list(_entries(content))
    holder, key = chance.choice(entries)
    match chance.randrange(4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            holder[key] = chance.choice(BAD_VALUES)
    return content


def _entries(content: Any) -> Iterator[tuple[Any, Any]]:
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(pairs):
        yield content, key
        yield from _entries(value)

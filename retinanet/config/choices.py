"""Check settings whose values are keys of a table that only one stage imports."""

from collections.abc import Iterable
from pathlib import Path

from retinanet.errors import ParamsError, suggestion


def check_choice(path: Path, key: str, value: str, choices: Iterable[str]) -> None:
    """Raise ParamsError, with the nearest name as a suggestion, if the value of a key is not among the choices."""
    names = list(choices)
    if value not in names:
        hint = suggestion(value, names)
        raise ParamsError(
            f"{path}: {key} is {value!r}; it must be one of {', '.join(names)}{'; ' if hint else ''}{hint}"
        )

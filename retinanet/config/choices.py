"""Settings whose values are the names of a table, which only the stage that uses it imports."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from retinanet.errors import ParamsError


def check_choice(path: Path, key: str, value: str, choices: Iterable[str]) -> None:
    """Raise ParamsError, with the nearest name as a suggestion, if the value of a key is not among the choices."""
    names = list(choices)
    if value not in names:
        nearest = difflib.get_close_matches(value, names, n=1, cutoff=0.4)
        suggestion = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ParamsError(f"{path}: {key} is {value!r}; it must be one of {', '.join(names)}{suggestion}")

"""A chosen setting with its reason."""

from collections.abc import Iterable
from typing import NamedTuple

from retinanet.config.params import changed_params
from retinanet.config.settings import Params


class Choice(NamedTuple):
    """The dotted key of a setting, its value, and why."""

    key: str
    value: object
    reason: str


def with_choices(params: Params, choices: Iterable[Choice]) -> Params:
    """The params with the values of the choices. Raises ParamsError."""
    return changed_params(params, {choice.key: choice.value for choice in choices})

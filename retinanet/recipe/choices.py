"""A chosen setting and its reason, and the values that a set of choices changes in params.yaml."""

from collections.abc import Sequence
from typing import NamedTuple

from retinanet.config.settings import Params


class Choice(NamedTuple):
    """The dotted key of a setting, its value, and why."""

    key: str
    value: object
    reason: str


def with_choices(params: Params, choices: Sequence[Choice]) -> Params:
    """The params with the values of the choices. Raises pydantic's ValidationError."""
    content = params.model_dump()
    for choice in choices:
        *sections, name = choice.key.split(".")
        section = content
        for key in sections:
            section = section[key]
        section[name] = choice.value
    return Params.model_validate(content)


def value_of(params: Params, key: str) -> object:
    """The value of a dotted key, as plain data."""
    value: object = params.model_dump()
    for name in key.split("."):
        assert isinstance(value, dict)
        value = value[name]
    return value

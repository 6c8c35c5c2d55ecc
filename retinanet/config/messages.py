"""One-line descriptions of invalid values in params.yaml."""

from typing import get_args

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from retinanet.config.fields import Section, walk_keys
from retinanet.config.settings import Params
from retinanet.errors import suggestion

EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "string_too_short": "text that is not empty",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_pattern_mismatch": "a sha256 of 64 hexadecimal digits (0-9, a-f), or empty",
    "union_tag_invalid": "one of {expected_tags}",
}


def describe_error(error: ErrorDetails) -> str:
    """Key, value and what the value must be; an unknown key with the nearest one."""
    key = ".".join(str(part) for part in error["loc"]) or "the file"
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        hint = _suggestion(error["loc"])
        return f"{key} is not a known key" + (f"; {hint}" if hint else "")
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        return f"{key}: {context['error']}"
    if kind in EXPECTED:
        value = context["tag"] if kind == "union_tag_invalid" else error["input"]
        return f"{key} is {value!r}; it must be {EXPECTED[kind].format(**context).replace(chr(39), '')}"
    return f"{key} is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _suggestion(location: tuple[int | str, ...]) -> str:
    name = str(location[-1])
    elsewhere = [key for key, _ in walk_keys(Params) if key.rpartition(".")[2] == name]
    if len(elsewhere) == 1:
        return suggestion(elsewhere[0], elsewhere)
    return suggestion(name, _keys_at(location[:-1]))


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section at that location; a list of sections has numbers in its location."""
    section: object = Params
    for part in location:
        chosen = [kind for kind in get_args(section) if _is_kind(kind, part)]
        if isinstance(part, int):
            section = get_args(section)[0]
        else:
            section = chosen[0] if chosen else _fields(section)[part].annotation
    return list(_fields(section))


def _fields(section: object) -> dict[str, FieldInfo]:
    return section.model_fields if isinstance(section, type) and issubclass(section, Section) else {}


def _is_kind(section: object, kind: object) -> bool:
    """Whether it is the section that a key `kind` with this value chooses."""
    return "kind" in _fields(section) and kind in get_args(_fields(section)["kind"].annotation)

"""params.yaml read into its checked sections, and changed by a program without losing its comments."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from retinanet.config.settings import Params
from retinanet.errors import ParamsError
from retinanet.files import write_text


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the whole file. Raises ParamsError with every mistake in one line."""
    return _checked(_read(path), path)


def write_params(path: Path, values: Mapping[str, object]) -> None:
    """Set keys that are there, dotted as `model.anchors.sizes`; every other character stays as it was.

    Raises ParamsError where that can't be or the outcome is no valid file; then it stays as it was.
    """
    text = with_values(_read(path), values, path)
    _checked(text, path)
    write_text(path, text)


def with_values(text: str, values: Mapping[str, object], path: Path) -> str:
    """The text of a YAML file with other values. Raises ParamsError, naming the path."""
    try:
        for key, value in values.items():
            node = _value_node(yaml.compose(text, yaml.SafeLoader), key)
            text = text[: node.start_mark.index] + _written_as(node, value) + text[_end(node) :]
    except (ValueError, yaml.YAMLError, KeyError) as error:
        raise ParamsError(f"{path}: cannot be changed ({' '.join(str(error).split())})") from error
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the repository's root") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not YAML: {error}") from error


def _checked(text: str, path: Path) -> Params:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ParamsError(f"{path}: {where}not YAML: {getattr(error, 'problem', error)}") from error
    # Dates that are none, numbers of too many digits, brackets without end.
    except (ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: not YAML: {error}") from error
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(f"{path}: " + "; ".join(_mistake(e) for e in error.errors())) from error


def _written_as(node: yaml.Node, value: object) -> str:
    """The new value in the old one's layout: in one line, or a line for each item."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return _on_one_line(value)
    if isinstance(node, yaml.SequenceNode) and isinstance(value, list) and value:
        return f"\n{' ' * node.start_mark.column}".join(f"- {_on_one_line(item)}" for item in value)
    # What stands on a line of its own has to be further in than its key.
    return "  " + _on_one_line(value)


def _on_one_line(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


def _value_node(node: yaml.Node | None, key: str) -> yaml.Node:
    for name in key.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for word, value in pairs if word.value == name), None)
    if node is None:
        raise KeyError(f"it has no {key}")
    return node


def _end(node: yaml.Node) -> int:
    """Where the value ends in the text. A block's own end would be behind the comments that follow it."""
    last = node
    while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    return last.end_mark.index


def _mistake(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "the file"
    match error["type"]:
        case "extra_forbidden":
            nearest = difflib.get_close_matches(str(error["loc"][-1]), _keys_at(error["loc"][:-1]), n=1, cutoff=0.4)
            return f"{key} is no known key" + (f"; did you mean {nearest[0]}?" if nearest else "")
        case "missing":
            return f"{key} is missing"
        case "union_tag_invalid":
            found, known = (error["ctx"][name] for name in ("tag", "expected_tags"))
            return f"{key} is {found!r}; it must be one of {known.replace(chr(39), '')}"
        case "value_error":
            return f"{key}: {error['ctx']['error']}"
        case _:
            return f"{key} is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _keys_at(location: tuple) -> list[str]:
    section: object = Params
    for part in location:
        # A number is the place in a list of sections.
        kinds = [kind for kind in get_args(section) if _is_kind(kind, part)]
        if isinstance(part, int):
            section = get_args(section)[0]
        else:
            section = kinds[0] if kinds else _fields(section)[part].annotation
    return list(_fields(section))


def _fields(section: object) -> dict[str, FieldInfo]:
    return section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}


def _is_kind(section: object, kind: object) -> bool:
    """Whether it is the section that a key `kind` with this value chooses."""
    return "kind" in _fields(section) and kind in get_args(_fields(section)["kind"].annotation)

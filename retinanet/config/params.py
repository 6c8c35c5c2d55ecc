"""Read params.yaml into its checked sections, or change values in it and keep its comments."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from retinanet.config.messages import describe_error
from retinanet.config.settings import Params
from retinanet.errors import ParamsError
from retinanet.files import write_text


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the file. Raises ParamsError, which lists every mistake in one line."""
    return _checked(_read(path), path)


def write_params(path: Path, values: Mapping[str, object]) -> None:
    """Set existing keys, dotted as in `model.anchors.sizes`; every other character stays unchanged.

    Raises ParamsError, and leaves the file unchanged, if a key does not exist or the result is not valid.
    """
    text = with_values(_read(path), values, path)
    _checked(text, path)
    write_text(path, text)


def changed_params(params: Params, values: Mapping[str, object]) -> Params:
    """The params with other values of dotted keys. Raises ParamsError."""
    content = params.model_dump()
    for key, value in values.items():
        *sections, name = key.split(".")
        section = content
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value
    return _validated(content, "params")


def flat(tree: Mapping, prefix: str = "") -> dict[str, object]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    values: dict[str, object] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return values


def with_values(text: str, values: Mapping[str, object], path: Path) -> str:
    """The text of a YAML file with new values. Raises ParamsError, which names the path."""
    try:
        for key, value in values.items():
            node = _value_node(yaml.compose(text, yaml.SafeLoader), key)
            start, end, written = node.start_mark.index, _end(node), _written_as(node, value)
            last_line, old_last_line = written.rpartition("\n")[2], text[start:end].rpartition("\n")[2]
            text = text[:start] + written + _in_its_column(text[end:], len(last_line) - len(old_last_line))
    except (ValueError, yaml.YAMLError, KeyError) as error:
        raise ParamsError(f"{path}: cannot be changed ({' '.join(str(error).split())})") from error
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the root of the repository") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not YAML: {error}") from error


def _checked(text: str, path: Path) -> Params:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ParamsError(f"{path}: {position}not YAML: {getattr(error, 'problem', error)}") from error
    # Invalid dates, integers with too many digits, brackets nested too deeply.
    except (ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: not YAML: {error}") from error
    return _validated(content, str(path))


def _validated(content: object, location: str) -> Params:
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(f"{location}: " + "; ".join(describe_error(e) for e in error.errors())) from error


def _written_as(node: yaml.Node, value: object) -> str:
    """The new value in the layout of the old one: on one line, or one line per item."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return _on_one_line(value)
    if isinstance(node, yaml.SequenceNode) and isinstance(value, list) and value:
        return f"\n{' ' * node.start_mark.column}".join(f"- {_on_one_line(item)}" for item in value)
    # A value on its own line must be indented further than its key.
    return "  " + _on_one_line(value)


def _in_its_column(rest: str, moved: int) -> str:
    """The rest of the text after a value that became longer by `moved` characters: its comment stays where it was."""
    spaces = len(rest) - len(rest.lstrip(" "))
    is_comment = spaces > 0 and rest[spaces : spaces + 1] == "#"
    return " " * max(min(2, spaces), spaces - moved) + rest[spaces:] if is_comment else rest


def _on_one_line(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


def _value_node(node: yaml.Node | None, key: str) -> yaml.Node:
    for name in key.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name_node, value in pairs if name_node.value == name), None)
    if node is None:
        raise KeyError(f"it has no key {key}")
    return node


def _end(node: yaml.Node) -> int:
    """Where the value ends in the text. The end mark of a block would be after the comments that follow it."""
    last = node
    while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    return last.end_mark.index

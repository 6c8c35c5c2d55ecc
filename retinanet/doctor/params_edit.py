"""params.yaml changed by a program: the named values alone, every other character as it was."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from retinanet.data.files import write_text
from retinanet.errors import ParamsError


def write_params(path: Path, values: Mapping[str, object]) -> None:
    """Set keys that are there, dotted as `model.anchors.sizes`. Raises ParamsError; then the file stays as it was."""
    try:
        text = path.read_text(encoding="utf-8")
        for key, value in values.items():
            node = _value_node(yaml.compose(text, yaml.SafeLoader), key)
            # What stands on lines of its own has to be further in than its key.
            indent = "  " if isinstance(node, yaml.CollectionNode) and not node.flow_style else ""
            text = text[: node.start_mark.index] + indent + json.dumps(value) + text[_end(node) :]
    except (OSError, ValueError, yaml.YAMLError, KeyError) as error:
        raise ParamsError(f"{path}: cannot be changed ({' '.join(str(error).split())})") from error
    write_text(path, text)


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

"""Write docs/params.md, from the settings' types and docstrings, and the tables of sources and formats in docs/data.md:

uv run python -m retinanet.cli.reference
"""

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from retinanet.annotations.formats import FORMATS
from retinanet.config.fields import Section, is_section, walk_keys
from retinanet.config.params import load_params
from retinanet.config.settings import Params
from retinanet.fetch.sources import SOURCES
from retinanet.files import write_text

PARAMS, REFERENCE, DATA = Path("params.yaml"), Path("docs/params.md"), Path("docs/data.md")
MAX_DEFAULT = 40  # characters of a default in the table
HEAD = """# params.yaml

Every setting of the pipeline. Unknown keys and wrong types are errors; the message suggests the closest key. The
defaults are the values in the repository's `params.yaml`. Change them there, or for one experiment:

```bash
uv run dvc exp run -S train.epochs=10 -S model.backbone=resnet50
```

Written by `uv run python -m retinanet.cli.reference`. To change a text, change the docstring of the setting in
`retinanet/config/`.
"""


def main() -> None:
    load_params(PARAMS)  # a file with mistakes has no defaults to document
    write_text(REFERENCE, reference_text(yaml.safe_load(PARAMS.read_text(encoding="utf-8"))))
    write_text(DATA, with_tables(DATA.read_text(encoding="utf-8")))
    print(f"{REFERENCE} and the tables of {DATA} written")


def reference_text(defaults: Mapping[str, Any]) -> str:
    """docs/params.md, with defaults from the content of params.yaml."""
    return HEAD + "".join(
        _section_text(name, field.annotation, defaults[name])
        for name, field in Params.model_fields.items()
        if is_section(field.annotation)
    )


def with_tables(page: str) -> str:
    """docs/data.md with new tables of sources and formats between their markers."""
    rows = {
        "sources": ("download.source", {name: source.description for name, source in SOURCES.items()}),
        "formats": ("prepare.format", {name: entry.title for name, entry in FORMATS.items()}),
    }
    for marker, (key, texts) in rows.items():
        lines = [f"| `{key}` | content |", "| --- | --- |"]
        table = "\n".join([*lines, *(f"| `{name}` | {text} |" for name, text in texts.items())])
        start, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
        (old,) = re.findall(f"{start}.*{end}", page, flags=re.DOTALL)
        page = page.replace(old, f"{start}\n{table}\n{end}")
    return page


def values_text(field: FieldInfo) -> str:
    """What a key may be: its choices, or its type and range."""
    return _values(field.annotation, _limits(field.metadata))


def _section_text(name: str, section: Any, defaults: Mapping[str, Any]) -> str:
    lines = [f"\n## {name}\n", f"{section.__doc__}\n"]
    lines += ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]
    for key, field in walk_keys(section):
        lines.append(_row(f"`{name}.{key}`", _default(defaults, key), field))
        lines += [_row(f"`{part}` in `{name}.{key}`", "", of_part) for part, of_part in _parts(field.annotation)]
    return "\n".join(lines) + "\n"


def _row(key: str, default: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split())
    return f"| {key} | {default} | {values_text(field)} | {meaning} |"


def _parts(annotation: Any) -> Iterator[tuple[str, FieldInfo]]:
    """The keys of the sections in a list of sections or in a choice by `kind`."""
    for section in get_args(annotation):
        if is_section(section):
            yield from ((name, field) for name, field in section.model_fields.items() if name != "kind")


def _default(defaults: Mapping[str, Any], key: str) -> str:
    value: Any = defaults
    for part in key.split("."):
        value = value[part]
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()
    return f"`{text}`" if len(text) <= MAX_DEFAULT else "see params.yaml"


def _values(annotation: Any, limits: dict[str, Any], plural: str = "") -> str:
    if hasattr(annotation, "__metadata__"):  # Annotated
        inner, *metadata = get_args(annotation)
        return _values(inner, _limits(metadata) | limits, plural)
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Literal:
            return ", ".join(f"`{choice}`" for choice in arguments)
        case origin if origin is list:
            items = "maps" if is_section(arguments[0]) else _values(arguments[0], {}, "s")
            return f"list of {_length(limits)}{items}"
        case origin if origin is dict:
            return f"map of string to {_values(arguments[1], {})}"
        case origin if origin in (Union, types.UnionType):
            return ", ".join(_kind(choice) if is_section(choice) else _values(choice, {}) for choice in arguments)
    if annotation is bool:
        return "`true`, `false`"
    if annotation is str:
        if "pattern" in limits:
            return "64 hexadecimal digits, or empty"
        return f"string{plural}" + (", not empty" if "min_length" in limits else "")
    return f"{'integer' if annotation is int else 'number'}{plural}{_range(limits)}"


def _kind(section: type[Section]) -> str:
    """One choice by `kind`, as it is written in params.yaml."""
    (name,) = get_args(section.model_fields["kind"].annotation)
    parameters = [f"{key}: ..." for key in section.model_fields if key != "kind"]
    return f"`{{kind: {name}, {', '.join(parameters)}}}`" if parameters else f"`{name}`"


def _limits(metadata: Sequence[Any]) -> dict[str, Any]:
    """The limits of pydantic's metadata by name."""
    found: dict[str, Any] = {}
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            found |= _limits(entry.metadata)
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern"):
            if getattr(entry, name, None) is not None:
                found[name] = getattr(entry, name)
    return found


def _range(limits: Mapping[str, Any]) -> str:
    if "ge" in limits and "le" in limits:
        return f" from {limits['ge']:g} to {limits['le']:g}"
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return " and".join(f" {sign} {limits[name]:g}" for name, sign in signs.items() if name in limits)


def _length(limits: Mapping[str, Any]) -> str:
    least, most = limits.get("min_length", 0), limits.get("max_length")
    if least == most:
        return f"{least} "
    return f"{least} or more " if least else ""


if __name__ == "__main__":
    main()

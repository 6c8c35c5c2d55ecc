"""Apply a preset to params.yaml and keep its comments."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from retinanet.config.params import load_params, write_params
from retinanet.errors import ParamsError, suggestion

PRESETS = Path(__file__).parent


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_changes(name: str, path: Path) -> list[tuple[str, object, object]]:
    """(key, value in the params file, value in the preset) of every key that the preset changes. Raises ParamsError."""
    content = load_params(path).model_dump()
    return [(".".join(keys), old, new) for keys, old, new in _changes(_read(name), content)]


def write_preset(name: str, path: Path) -> None:
    """Write the preset into the params file. Raises ParamsError and leaves the file unchanged if it became invalid."""
    write_params(path, {key: new for key, _, new in preset_changes(name, path)})


def _read(name: str) -> dict:
    if name not in preset_names():
        hint = suggestion(name, preset_names()) or f"presets are {', '.join(preset_names())}"
        raise ParamsError(f"{name!r} is not a preset; {hint}")
    return yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))


def _changes(preset: Mapping, content: Mapping, parents: tuple = ()) -> Iterator[tuple[tuple, object, object]]:
    """(path of the key, old value, new value) of each value that differs."""
    for key, new in preset.items():
        old = content[key]
        if isinstance(new, Mapping) and new:
            yield from _changes(new, old, (*parents, key))
        elif new != old:
            yield (*parents, key), old, new

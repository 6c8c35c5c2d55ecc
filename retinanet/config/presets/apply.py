"""A preset put into params.yaml, which keeps its comments."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from retinanet.config.params import load_params, write_params
from retinanet.errors import ParamsError

PRESETS = Path(__file__).parent


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_changes(name: str, path: Path) -> list[tuple[str, object, object]]:
    """(key, value in the params file, value in the preset) of all that the preset changes. Raises ParamsError."""
    content = load_params(path).model_dump()
    return [(".".join(keys), old, new) for keys, old, new in _changes(_read(name), content)]


def write_preset(name: str, path: Path) -> None:
    """Put the preset into the params file. Raises ParamsError and leaves the file where the outcome can't be."""
    write_params(path, {key: new for key, _, new in preset_changes(name, path)})


def _read(name: str) -> dict:
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(preset_names())}"
        raise ParamsError(f"there is no preset {name!r}; {hint}")
    return yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))


def _changes(preset: Mapping, content: Mapping, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple, object, object]]:
    """(path of the key, old, new) of each value that differs."""
    for key, new in preset.items():
        old = content[key]
        if isinstance(new, Mapping) and new:
            yield from _changes(new, old, (*above, key))
        elif new != old:
            yield (*above, key), old, new

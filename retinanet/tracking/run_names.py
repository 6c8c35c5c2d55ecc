"""Names of runs that say what changed: settings of params.yaml that differ from the commit."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import yaml

from retinanet.tracking.provenance import committed_text

PARAMS = Path("params.yaml")
TRAINED_BY = ("prepare", "model", "train")
EVALUATED_BY = ("prepare", "evaluate")
MAX_CHANGES = 4
MAX_VALUE = 24  # characters


def training_name(data: str) -> str:
    """For example `epochs=10 box_loss=giou`; without changes the DVC experiment's name, or the data and the time.

    data is the name or address of the source, which stands first if it changed.
    """
    data_name = Path(data).name.split(".tar")[0].removesuffix(".zip") or data
    changed = [data_name] if _source_changed() else []
    changed += changes(TRAINED_BY)
    if changed:
        more = len(changed) - MAX_CHANGES
        return " ".join(changed[:MAX_CHANGES]) + (f" and {more} more" if more > 0 else "")
    return os.environ.get("DVC_EXP_NAME") or f"{data_name} {datetime.now():%Y-%m-%d %H:%M}"


def changes(sections: Sequence[str]) -> list[str]:
    """Each setting of these sections that differs from the commit, as key=value with the key's last part."""
    before, now = _committed_and_now()
    if not before:
        return []
    changed = [key for key in now if key.split(".")[0] in sections and before.get(key) != now[key]]
    names = [key.rpartition(".")[2] for key in changed]
    return [
        f"{name if names.count(name) == 1 else key}={_short(now[key])}"
        for key, name in zip(changed, names, strict=True)
    ]


def _source_changed() -> bool:
    before, now = _committed_and_now()
    source = f"download.{now.get('download.source')}."
    watched = [key for key in now if key == "download.source" or key.startswith(source)]
    return bool(before) and any(before.get(key) != now[key] for key in watched)


def _committed_and_now() -> tuple[dict[str, object], dict[str, object]]:
    """The settings by dotted key."""
    now = PARAMS.read_text(encoding="utf-8") if PARAMS.exists() else ""
    committed, present = (yaml.safe_load(text) or {} for text in (committed_text(PARAMS.as_posix()) or "", now))
    return _flat(committed, ""), _flat(present, "")


def _flat(tree: Mapping, prefix: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in tree.items():
        # A choice with parameters, e.g. {kind: smooth_l1, beta: 0.1}, is one value.
        is_section = isinstance(value, Mapping) and "kind" not in value
        values |= _flat(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
    return values


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        text = ",".join([str(value["kind"]), *(f"{k}={v}" for k, v in value.items() if k != "kind")])
    elif isinstance(value, list):
        text = ",".join(str(item) for item in value)
    else:
        text = str(value).rpartition("/")[2] or str(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"

"""The `dvc exp run` that trains with given settings, in the grammar of its option -S (Hydra's overrides)."""

import re
import shlex
from collections.abc import Mapping

# Hydra reads these words, and what looks like a number, as values of other types.
OTHER_TYPES = ("true", "false", "null", "nan", "inf")


def experiment_command(values: Mapping[str, object], name: str) -> str:
    """For example `dvc exp run -n best -S train.box_loss=giou`."""
    options = [f"-S {shlex.quote(f'{key}={_written(value)}')}" for key, value in values.items()]
    return " ".join(["dvc exp run -n", shlex.quote(name), *options])


def _written(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return repr(value)
    if re.fullmatch(r"[A-Za-z][\w./-]*", value) and value.lower() not in OTHER_TYPES:
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

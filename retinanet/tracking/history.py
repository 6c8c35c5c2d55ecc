"""The promotion history: an append-only log in the registry, which also decides between promoters on several machines.

Entries are versions of a second registered model, NAME-promotions. MLflow's registry has no compare-and-set, but it
numbers versions: no number is given twice, not even after a deletion, and none before all lower ones are stored. Each
entry names the entry that it follows. Of entries that follow the same one, the first counts, whoever reads them.
"""

import getpass
import json
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from retinanet.tracking.provenance import git_user

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PROMOTE, ROLLBACK = "promote", "rollback"
NO_VERSION = 0
ENTRY, DONE = "entry", "done"  # tags: the entry as JSON, and whether the alias has moved
ATTEMPTS = 5  # to add an entry while the store is busy


class Change(NamedTuple):
    """A change of production from version `before` (0: none) to `version`; gate is the gate's answer."""

    action: str
    before: int
    version: int
    reason: str = ""
    gate: str = ""


class Entry(NamedTuple):
    """A change in the history. It is done when the alias has moved."""

    number: int
    change: Change
    by: str
    at: datetime
    is_done: bool
    key: str  # of the promoter who wrote it


def history_name(model_name: str) -> str:
    return f"{model_name}-promotions"


def entries(client: "MlflowClient", model_name: str) -> list[Entry]:
    """The entries that count, oldest first."""
    found = client.search_model_versions(f"name = '{history_name(model_name)}'", max_results=10_000)
    counted: list[Entry] = []
    for version in sorted(found, key=lambda version: int(version.version)):
        content = json.loads(version.tags.get(ENTRY, '{"after": -1}'))
        last = counted[-1].number if counted else 0
        if content["after"] >= last:  # above it if the entry it follows was deleted
            counted.append(_entry(version, content))
    return counted


def append(client: "MlflowClient", model_name: str, after: int, change: Change) -> Entry | None:
    """Add an entry that follows the entry with the number `after` (0: none); None if another one came first."""
    key = uuid.uuid4().hex
    written = _write(client, model_name, after, change, key)
    first = next(entry for entry in entries(client, model_name) if entry.number > after)
    if first.key == key:
        return first
    client.delete_model_version(history_name(model_name), str(written))  # it never counted
    return None


def set_done(client: "MlflowClient", model_name: str, entry: Entry) -> None:
    """Record that the alias has moved."""
    client.set_model_version_tag(history_name(model_name), str(entry.number), DONE, "true")


def productions(history: Sequence[Entry], current: int = NO_VERSION) -> list[int]:
    """The versions that are in production (the last) and were before it, without those that were rolled back.

    current is the version that has the alias, which may have been moved by other means than the history's.
    """
    stack: list[int] = []
    for entry in history:
        stack = _with_top(stack, entry.change.before)
        if entry.change.action == ROLLBACK:
            stack = _with_top(stack[:-1], entry.change.version)
        elif stack[-1:] != [entry.change.version]:
            stack.append(entry.change.version)
    return _with_top(stack, current)


def moved_outside(history: Sequence[Entry], current: int) -> str:
    """How the version `current`, which has the alias `production`, differs from the history's; empty if it does not.

    A last entry that is not done may have moved the alias already.
    """
    done = [entry for entry in history if entry.is_done]
    if current in (NO_VERSION, *(entry.change.version for entry in (*done[-1:], *history[-1:]))):
        return ""
    recorded = f"which has version {history[-1].change.version}" if history else "which is empty"
    step = "set back" if history else "delete"
    return (
        f"put into production outside of the history, {recorded}; {step} the alias in MLflow's pages, then use "
        "`retinanet promote`"
    )


def rolled_back(history: Sequence[Entry]) -> dict[int, Entry]:
    """The rollback of each version that was rolled back and not promoted again."""
    found: dict[int, Entry] = {}
    for entry in history:
        if entry.change.action == ROLLBACK:
            found[entry.change.before] = entry
        found.pop(entry.change.version, None)
    return found


def _with_top(stack: list[int], version: int) -> list[int]:
    if version == NO_VERSION:
        return stack
    if version in stack:  # back to it
        return stack[: len(stack) - stack[::-1].index(version)]
    return [*stack, version]


def _write(client: "MlflowClient", model_name: str, after: int, change: Change, key: str) -> int:
    from mlflow.exceptions import MlflowException

    by = f"{git_user() or getpass.getuser()} ({socket.gethostname()})"
    # One tag, because the page of the history shows every tag of every entry.
    tags = {ENTRY: json.dumps({"after": after, "key": key, "by": by, **change._asdict()}, ensure_ascii=False)}
    text = f"{change.action}: {change.before or 'none'} -> {change.version}, by {by}. {change.reason}"
    source = f"models:/{model_name}/{change.version}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _ensure_history(client, model_name)
            # A retry after a lost answer may write a twin, which follows the same entry and thus never counts.
            version = client.create_model_version(history_name(model_name), source, tags=tags, description=text.strip())
            return int(version.version)
        except MlflowException:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)
    raise AssertionError("unreachable")


def _ensure_history(client: "MlflowClient", model_name: str) -> None:
    from mlflow.exceptions import MlflowException

    text = f"The promotion history of {model_name}: each version is a promotion or rollback. Do not delete versions."
    try:
        client.create_registered_model(history_name(model_name), description=text)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _entry(version: "ModelVersion", content: Mapping) -> Entry:
    change = Change(**{name: content[name] for name in Change._fields})
    at = datetime.fromtimestamp(version.creation_timestamp / 1000)
    return Entry(int(version.version), change, content["by"], at, DONE in version.tags, content["key"])

"""Promotion of a version to production, behind a gate, and rollback; both are recorded in the history.

Promoters on several machines at once: the one whose entry comes first in the history wins and moves the alias, the
others are refused. A later entry is added only when the one before is done, so that the aliases follow the history.
"""

import time
from typing import TYPE_CHECKING, NamedTuple

from retinanet.errors import TrackingError
from retinanet.tracking.comparison import Gate
from retinanet.tracking.gate import Measure, Refused, require_better, require_finished
from retinanet.tracking.history import (
    NO_VERSION,
    PROMOTE,
    ROLLBACK,
    Change,
    Entry,
    append,
    entries,
    productions,
    rolled_back,
    set_done,
)
from retinanet.tracking.registry import PREVIOUS, PRODUCTION, at_alias, check_digest, find_version, versions
from retinanet.tracking.signing import require_signed
from retinanet.tracking.store import open_client, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FINISH_S = 15.0  # after this a promoter whose entry is not done has died
POLL_S = 0.2


class Decision(NamedTuple):
    """The outcome of a promotion or rollback; `reason` is one line. undecided: the test set is too small to tell."""

    accepted: bool
    version: int
    reason: str
    undecided: bool = False


class Standing(NamedTuple):
    """The history, the version with the alias `production`, and the numbers of it and those before it, it last.

    The alias is missing if that version was deleted; its number is still the last.
    """

    history: list[Entry]
    production: "ModelVersion | None"
    numbers: list[int]

    @property
    def number(self) -> int:
        return self.numbers[-1] if self.numbers else NO_VERSION


def promote(
    model_name: str,
    version: int,
    gate: Gate,
    evaluation_digest: str | None = None,
    measure: Measure | None = None,
    *,
    dry_run: bool = False,
    allow_dirty: bool = False,
    again: bool = False,
    force: bool = False,
    reason: str = "",
    trusted_keys: str = "",
) -> Decision:
    """Put a version into production if it passes the gate.

    evaluation_digest is the workspace's; `measure` evaluates a version that was registered with another digest. again
    accepts a version that was rolled back, force one that does not win the comparison; both are recorded with the
    reason. trusted_keys is a file of keys, one of which must have signed the version; empty: none. Raises
    TrackingError if the version is missing, not signed, or was changed after registration.
    """
    client = open_client()
    try:
        with store_errors():
            standing = read_standing(client, model_name) if dry_run else _finished_standing(client, model_name)
            candidate = find_version(client, model_name, version)
            if standing.production and int(standing.production.version) == version:
                return Decision(True, version, f"version {version} is in production already")
            if not again:
                _require_not_rolled_back(standing, version)
            require_signed(client, candidate, trusted_keys)
            require_finished(client, candidate, allow_dirty)
            try:
                answer = _compare(client, candidate, standing, gate, evaluation_digest, measure, not dry_run)
            except Refused as refusal:
                if not force:
                    raise
                answer = f"forced; the gate refuses: {refusal}"
            check_digest(client, candidate)
            if dry_run:
                return Decision(True, version, f"{answer}; dry run, nothing changed")
            _change(client, model_name, standing, Change(PROMOTE, standing.number, version, reason, answer))
            return Decision(True, version, answer)
    except Refused as refusal:
        return Decision(False, version, str(refusal), refusal.undecided)


def rollback(model_name: str, reason: str = "") -> Decision:
    """Put the version back into production that the history names before the present one.

    Raises TrackingError if there is none or its files were changed.
    """
    client = open_client()
    try:
        with store_errors():
            standing = _finished_standing(client, model_name)
            if not standing.numbers:
                raise TrackingError(f"{model_name} has no version in production; promote one with `retinanet promote`")
            if len(standing.numbers) == 1:
                raise TrackingError(
                    f"no version was in production before version {standing.number}; promote another with "
                    "`retinanet promote --version N`"
                )
            number = standing.numbers[-2]
            try:
                check_digest(client, find_version(client, model_name, number))
            except TrackingError as error:
                raise TrackingError(
                    f"version {number}, which was in production before {standing.number}, cannot be put back: {error}; "
                    "to put another version into production, use `retinanet promote --version N --force --reason TEXT`"
                ) from error
            _change(client, model_name, standing, Change(ROLLBACK, standing.number, number, reason))
            return Decision(True, number, f"version {number} is back in production in place of {standing.number}")
    except Refused as refusal:
        return Decision(False, NO_VERSION, str(refusal))


def read_standing(client: "MlflowClient", model_name: str) -> Standing:
    """What is in production, and what was. A change that is not done does not count yet."""
    return _standing(client, model_name, [entry for entry in entries(client, model_name) if entry.is_done])


def way_out(standing: Standing) -> str:
    """What to do if the version in production was deleted, or its alias."""
    steps = ["`retinanet promote --version N --force --reason TEXT` promotes without a comparison"]
    if len(standing.numbers) > 1:
        steps.insert(0, f"`retinanet rollback` puts version {standing.numbers[-2]} back")
    return f"version {standing.number} was in production, and it or its alias was deleted; {', '.join(steps)}"


def _finished_standing(client: "MlflowClient", model_name: str) -> Standing:
    """Wait for a promoter that has added its entry and not moved the alias yet; if it has died, move the alias."""
    history = entries(client, model_name)
    deadline = time.monotonic() + FINISH_S
    while history and not history[-1].is_done:
        if time.monotonic() > deadline:
            _follow_history(client, model_name)
        time.sleep(POLL_S)
        last, history = history[-1].number, entries(client, model_name)
        if history[-1].number != last:
            deadline = time.monotonic() + FINISH_S
    return _standing(client, model_name, history)


def _standing(client: "MlflowClient", model_name: str, history: list[Entry]) -> Standing:
    # The alias is read after the history: an alias that has moved meanwhile belongs to an entry that comes before ours.
    production = at_alias(client, model_name, PRODUCTION)
    numbers = productions(history, int(production.version) if production else NO_VERSION)
    previous = at_alias(client, model_name, PREVIOUS) if not history and production else None
    if previous:  # promoted before there was a history
        numbers.insert(0, int(previous.version))
    return Standing(history, production, numbers)


def _require_not_rolled_back(standing: Standing, version: int) -> None:
    if entry := rolled_back(standing.history).get(version):
        why = f", because: {entry.change.reason}" if entry.change.reason else ""
        raise Refused(
            f"version {version} was rolled back on {entry.at:%Y-%m-%d %H:%M} by {entry.by}{why}; "
            "`--again --reason TEXT` promotes it nevertheless"
        )


def _compare(
    client: "MlflowClient",
    candidate: "ModelVersion",
    standing: Standing,
    gate: Gate,
    evaluation_digest: str | None,
    measure: Measure | None,
    is_counted: bool,
) -> str:
    production = standing.production
    if standing.numbers and production is None:
        if int(candidate.version) == standing.number:
            return f"version {candidate.version} was in production, but the alias {PRODUCTION} was deleted"
        left = {int(version.version): version for version in versions(client, candidate.name)}
        production = left.get(standing.number)
        if production is None:
            raise Refused(way_out(standing))
    return require_better(client, candidate, production, gate, evaluation_digest, measure, is_counted)


def _change(client: "MlflowClient", model_name: str, standing: Standing, change: Change) -> None:
    """Add the change to the history and move the aliases. Raises Refused if another change came first."""
    current = at_alias(client, model_name, PRODUCTION)
    is_same = (current and current.version) == (standing.production and standing.production.version)
    after = standing.history[-1].number if standing.history else 0
    if is_same and append(client, model_name, after, change):
        _follow_history(client, model_name)
        return
    now = _finished_standing(client, model_name)
    by = f" by {now.history[-1].by}" if now.history and now.history[-1].change.version == now.number else ""
    raise Refused(f"version {now.number} was put into production in the meantime{by}; {change.action} again")


def _follow_history(client: "MlflowClient", model_name: str) -> None:
    """Move the aliases to what the history says, again if an entry was added meanwhile."""
    moved = None
    while (history := entries(client, model_name))[-1].number != moved:
        numbers = productions(history)
        if len(numbers) == 1 or not _set_alias(client, model_name, PREVIOUS, numbers[-2]):
            client.delete_registered_model_alias(model_name, PREVIOUS)
        _set_alias(client, model_name, PRODUCTION, numbers[-1])
        set_done(client, model_name, history[-1])
        moved = history[-1].number


def _set_alias(client: "MlflowClient", model_name: str, alias: str, number: int) -> bool:
    """Move an alias; False if the version is deleted."""
    from mlflow.exceptions import MlflowException

    try:
        client.set_registered_model_alias(model_name, alias, str(number))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True

"""Which version is in production: the gate to it, and the way back."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from retinanet.errors import RetinanetError, TrackingError
from retinanet.tracking.provenance import code_digest, uncommitted
from retinanet.tracking.registry import PREVIOUS, PRODUCTION, at_alias, check_digest, find_version, metric_of
from retinanet.tracking.store import lock_path, open_client, unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CAME_BEFORE = "previous_production"
EVALUATION = "evaluation.digest"
Measure = Callable[["ModelVersion"], float]


class Gate(NamedTuple):
    """What a version must reach. Of min_gain 0, equal is not enough: a version must be better than production."""

    metric: str
    floor: float
    min_gain: float


class Decision(NamedTuple):
    """What came of asking for a promotion; `reason` is one line for a person."""

    accepted: bool
    version: int
    reason: str


class _Refused(Exception):
    pass


def promote(
    model_name: str,
    version: int,
    gate: Gate,
    evaluation_digest: str | None = None,
    measure: Measure | None = None,
    dry_run: bool = False,
    allow_dirty: bool = False,
) -> Decision:
    """Put a version into production if it passes the gate.

    evaluation_digest is today's; `measure` gives today's figure of a version that was measured under another one.
    Raises TrackingError when the version is missing or its files are not those registered.
    """
    client = open_client()
    try:
        with _alone():
            candidate = find_version(client, model_name, version)
            production = at_alias(client, model_name, PRODUCTION)
            if production and production.version == candidate.version:
                return Decision(True, version, f"version {version} is in production already")
            _require_sound(client, candidate, allow_dirty)
            comparison = _require_better(candidate, production, gate, evaluation_digest, measure)
            check_digest(client, candidate)
            if dry_run:
                return Decision(True, version, f"{comparison}; dry run, nothing moved")
            _move(client, candidate, production)
            return Decision(True, version, comparison)
    except _Refused as refusal:
        return Decision(False, version, str(refusal))


def rollback(model_name: str) -> Decision:
    """Put the version back that was in production before. Raises TrackingError when there is none, or it is damaged."""
    client = open_client()
    try:
        with _alone():
            production = at_alias(client, model_name, PRODUCTION)
            if production is None:
                raise TrackingError(f"{model_name} has no version in production; `retinanet promote` puts one there")
            number = production.tags.get(CAME_BEFORE, "none")
            if number == "none":
                raise TrackingError(f"nothing was in production before version {production.version}; promote another")
            before = find_version(client, model_name, number)
            check_digest(client, before)
            client.set_registered_model_alias(model_name, PRODUCTION, before.version)
            _set_previous(client, model_name, before.tags.get(CAME_BEFORE, "none"))
            return Decision(True, int(number), f"version {number} is back in production, {production.version} is out")
    except _Refused as refusal:
        return Decision(False, 0, str(refusal))


def _require_sound(client: "MlflowClient", candidate: "ModelVersion", allow_dirty: bool) -> None:
    from mlflow.exceptions import MlflowException

    if candidate.status != "READY":
        raise _Refused(f"version {candidate.version} is {candidate.status}, not READY")
    status = "missing"  # as of a version that was made by hand
    if candidate.run_id:
        with suppress(MlflowException):
            status = client.get_run(candidate.run_id).info.status
    if status != "FINISHED":
        raise _Refused(f"the run of version {candidate.version} is {status}, not FINISHED")
    if not allow_dirty:
        _require_committed(candidate)


def _require_committed(candidate: "ModelVersion") -> None:
    if candidate.tags.get("dirty") == "false":
        return
    changed = uncommitted()
    same_code = candidate.tags.get("code.digest") == code_digest()
    if same_code and not changed:
        return  # it was committed after the version was made
    files = candidate.tags.get("dirty.files", "unknown")
    mend = "commit and promote again" if same_code else "commit the code that made it, then `dvc repro`"
    raise _Refused(
        f"version {candidate.version} was made from code that is in no commit ({files}); {mend}, or use --allow-dirty"
    )


def _require_better(
    candidate: "ModelVersion",
    production: "ModelVersion | None",
    gate: Gate,
    today: str | None,
    measure: Measure | None,
) -> str:
    digest = candidate.tags.get(EVALUATION)
    # Two figures under one digest compare, whatever was changed since.
    if not today or (production and production.tags.get(EVALUATION) == digest):
        today = digest
    figure = _figure(candidate, gate.metric, today, measure)
    said = f"version {candidate.version} has {gate.metric} {figure:.4f}"
    if figure < gate.floor:
        raise _Refused(f"{said}, less than the floor of {gate.floor:g}")
    if production is None:
        return f"{said}, the floor is {gate.floor:g}; nothing was in production"
    standing = _figure(production, gate.metric, today, measure)
    said += f", version {production.version} in production {standing:.4f}"
    if production.tags.get(EVALUATION) != today:
        said += " (measured again on today's test set)"
    gain = figure - standing
    if gain <= 0:
        raise _Refused(f"{said}; it is not better")
    if gain < gate.min_gain - 1e-9:
        raise _Refused(f"{said}; a gain of {gate.min_gain:g} is asked for")
    return said


def _figure(version: "ModelVersion", metric: str, today: str | None, measure: Measure | None) -> float:
    if version.tags.get(EVALUATION) == today:
        figure = metric_of(version, metric)
    elif measure is None:
        raise _Refused(f"version {version.version} was measured on another test set or settings, and none is here")
    else:
        try:
            figure = measure(version)
        except RetinanetError as error:
            raise _Refused(f"version {version.version} can't be measured on today's test set: {error}") from error
    if figure is None:
        raise _Refused(f"version {version.version} was registered without {metric}")
    if not math.isfinite(figure):
        raise _Refused(f"version {version.version} has {metric} {figure}, which is no figure")
    return figure


def _move(client: "MlflowClient", candidate: "ModelVersion", production: "ModelVersion | None") -> None:
    name = candidate.name
    before = str(production.version) if production else "none"
    # The registry has no compare-and-set, and the lock is this machine's: look once more.
    now = at_alias(client, name, PRODUCTION)
    if (str(now.version) if now else "none") != before:
        raise _Refused(f"version {now.version if now else 'none'} came into production meanwhile; promote again")
    client.set_model_version_tag(name, candidate.version, CAME_BEFORE, before)
    _set_previous(client, name, before)
    client.set_registered_model_alias(name, PRODUCTION, candidate.version)


def _set_previous(client: "MlflowClient", model_name: str, number: str) -> None:
    if number != "none":
        client.set_registered_model_alias(model_name, PREVIOUS, number)
    elif at_alias(client, model_name, PREVIOUS):
        client.delete_registered_model_alias(model_name, PREVIOUS)


@contextmanager
def _alone() -> Iterator[None]:
    """One change of production at a time; refuses the second, and says what the registry says as a TrackingError."""
    from mlflow.exceptions import MlflowException

    try:
        with FileLock(lock_path("promotion"), timeout=0):
            yield
    except Timeout as error:
        raise _Refused("another promotion or rollback is under way; try again when it is done") from error
    except MlflowException as error:
        raise unreachable(error) from error

"""Promotion of a version to production, behind a gate, and rollback."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from retinanet.errors import RetinanetError, TrackingError
from retinanet.tracking.comparison import BETTER, UNDECIDED, Evaluated, Gate, compare
from retinanet.tracking.entries import EVALUATION_TAG
from retinanet.tracking.evaluations import stored_matches
from retinanet.tracking.provenance import code_digest, uncommitted
from retinanet.tracking.registry import PREVIOUS, PRODUCTION, at_alias, check_digest, find_version, metric_of
from retinanet.tracking.signing import require_signed
from retinanet.tracking.store import lock_path, open_client, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREDECESSOR = "previous_production"
Measure = Callable[["ModelVersion"], Evaluated]


class Decision(NamedTuple):
    """The outcome of a promotion or rollback; `reason` is one line. undecided: the test set is too small to tell."""

    accepted: bool
    version: int
    reason: str
    undecided: bool = False


class _Refused(Exception):
    undecided = False


class _Undecided(_Refused):
    undecided = True


def promote(
    model_name: str,
    version: int,
    gate: Gate,
    evaluation_digest: str | None = None,
    measure: Measure | None = None,
    dry_run: bool = False,
    allow_dirty: bool = False,
    trusted_keys: str = "",
) -> Decision:
    """Put a version into production if it passes the gate.

    evaluation_digest is the workspace's; `measure` evaluates a version that was registered with another digest.
    trusted_keys is a file of keys, one of which must have signed the version; empty: none. Raises TrackingError if the
    version is missing, not signed, or was changed after registration.
    """
    client = open_client()
    try:
        with _exclusive():
            candidate = find_version(client, model_name, version)
            production = at_alias(client, model_name, PRODUCTION)
            if production and production.version == candidate.version:
                return Decision(True, version, f"version {version} is in production already")
            require_signed(client, candidate, trusted_keys)
            _require_finished(client, candidate, allow_dirty)
            comparison = _require_better(client, candidate, production, gate, evaluation_digest, measure)
            check_digest(client, candidate)
            if dry_run:
                return Decision(True, version, f"{comparison}; dry run, nothing changed")
            _move(client, candidate, production)
            return Decision(True, version, comparison)
    except _Refused as refusal:
        return Decision(False, version, str(refusal), refusal.undecided)


def rollback(model_name: str) -> Decision:
    """Put the previous version back into production.

    Raises TrackingError if there is no previous version or its files were changed.
    """
    client = open_client()
    try:
        with _exclusive():
            production = at_alias(client, model_name, PRODUCTION)
            if production is None:
                raise TrackingError(f"{model_name} has no version in production; promote one with `retinanet promote`")
            number = production.tags.get(PREDECESSOR, "none")
            if number == "none":
                raise TrackingError(
                    f"no version was in production before version {production.version}; promote another"
                )
            previous = find_version(client, model_name, number)
            check_digest(client, previous)
            client.set_registered_model_alias(model_name, PRODUCTION, previous.version)
            _set_previous(client, model_name, previous.tags.get(PREDECESSOR, "none"))
            return Decision(
                True, int(number), f"version {number} is back in production in place of {production.version}"
            )
    except _Refused as refusal:
        return Decision(False, 0, str(refusal))


def _require_finished(client: "MlflowClient", candidate: "ModelVersion", allow_dirty: bool) -> None:
    from mlflow.exceptions import MlflowException

    if candidate.status != "READY":
        raise _Refused(f"version {candidate.version} is {candidate.status}, not READY")
    status = "missing"  # e.g. of a version that was registered by hand
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
        return  # committed after the version was made
    files = candidate.tags.get("dirty.files", "unknown")
    fix = "commit and promote again" if same_code else "commit the code that made it, then `dvc repro`"
    raise _Refused(f"version {candidate.version} was made from uncommitted code ({files}); {fix}, or use --allow-dirty")


def _require_better(
    client: "MlflowClient",
    candidate: "ModelVersion",
    production: "ModelVersion | None",
    gate: Gate,
    evaluation_digest: str | None,
    measure: Measure | None,
) -> str:
    candidate_digest = candidate.tags.get(EVALUATION_TAG)
    # Metrics with one digest can be compared, whatever changed since.
    if not evaluation_digest or (production and production.tags.get(EVALUATION_TAG) == candidate_digest):
        evaluation_digest = candidate_digest
    new = _evaluated(client, candidate, gate.metric, evaluation_digest, measure)
    summary = f"version {candidate.version} has {gate.metric} {new.value:.4f}"
    if new.value < gate.floor:
        raise _Refused(f"{summary}, below the floor of {gate.floor:g}")
    if production is None:
        return f"{summary}, the floor is {gate.floor:g}; no version was in production"
    old = _evaluated(client, production, gate.metric, evaluation_digest, measure)
    summary += f", version {production.version} in production {old.value:.4f}"
    if production.tags.get(EVALUATION_TAG) != evaluation_digest:
        summary += " (evaluated again on the current test set)"
    verdict = compare(new, old, gate)
    summary = f"{verdict.answer}: {summary}; {verdict.reason}"
    if verdict.answer == BETTER:
        return summary
    if verdict.answer == UNDECIDED and gate.accepts_undecided:
        return f"{summary}; promote.when_undecided is accept"
    raise (_Undecided if verdict.answer == UNDECIDED else _Refused)(summary)


def _evaluated(
    client: "MlflowClient",
    version: "ModelVersion",
    metric: str,
    evaluation_digest: str | None,
    measure: Measure | None,
) -> Evaluated:
    """The metric with this evaluation digest, and its matches: of the version's run, or measured now."""
    if version.tags.get(EVALUATION_TAG) == evaluation_digest:
        value = metric_of(version, metric)
        if value is None:
            raise _Refused(f"version {version.version} was registered without {metric}")
        evaluated = Evaluated(value, stored_matches(client, version, evaluation_digest, metric, value))
    elif measure is None:
        raise _Refused(
            f"version {version.version} was evaluated with another test set or settings, and this workspace has no "
            "test set to evaluate it again; run `dvc repro`"
        )
    else:
        try:
            evaluated = measure(version)
        except RetinanetError as error:
            raise _Refused(f"version {version.version} cannot be evaluated on the current test set: {error}") from error
    if not math.isfinite(evaluated.value):
        raise _Refused(f"version {version.version} has {metric} {evaluated.value}, which is not a finite number")
    return evaluated


def _move(client: "MlflowClient", candidate: "ModelVersion", production: "ModelVersion | None") -> None:
    name = candidate.name
    expected = str(production.version) if production else "none"
    # The registry has no compare-and-set, and the lock is only this machine's: check again.
    current = at_alias(client, name, PRODUCTION)
    if (str(current.version) if current else "none") != expected:
        raise _Refused(
            f"version {current.version if current else 'none'} was put into production in the meantime; promote again"
        )
    client.set_model_version_tag(name, candidate.version, PREDECESSOR, expected)
    _set_previous(client, name, expected)
    client.set_registered_model_alias(name, PRODUCTION, candidate.version)


def _set_previous(client: "MlflowClient", model_name: str, number: str) -> None:
    if number != "none":
        client.set_registered_model_alias(model_name, PREVIOUS, number)
    elif at_alias(client, model_name, PREVIOUS):
        client.delete_registered_model_alias(model_name, PREVIOUS)


@contextmanager
def _exclusive() -> Iterator[None]:
    """Allow one promotion or rollback at a time and refuse others. MLflow's errors become a TrackingError."""
    try:
        with FileLock(lock_path("promotion"), timeout=0), store_errors():
            yield
    except Timeout as error:
        raise _Refused("another promotion or rollback is running; try again when it has ended") from error

"""The gate: what a version must pass to be put into production."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from retinanet.errors import RetinanetError
from retinanet.tracking.comparison import BETTER, UNDECIDED, Evaluated, Gate, compare
from retinanet.tracking.entries import EVALUATION_TAG, PROCESSOR_TAG
from retinanet.tracking.evaluations import stored_matches
from retinanet.tracking.provenance import code_digest, uncommitted
from retinanet.tracking.registry import REGISTER_AGAIN, metric_of, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# The evaluations, by digest, that have compared a version with production.
DECIDED_TAG = "decided.by"
# Metrics that a version is registered with, of the file that it serves: see retinanet.export.speed.
LATENCY, MEMORY = "latency_p95_ms", "peak_memory_mb"

Measure = Callable[["ModelVersion"], Evaluated]


class Refused(Exception):
    """The version must not be put into production; the message says why."""

    undecided = False


class Undecided(Refused):
    """The test set is too small to tell."""

    undecided = True


def require_finished(client: "MlflowClient", candidate: "ModelVersion", allow_dirty: bool) -> None:
    """Raise Refused unless the version is ready, its run finished, and its code committed."""
    from mlflow.exceptions import MlflowException

    if candidate.status != "READY":
        raise Refused(f"version {candidate.version} is {candidate.status}, not READY")
    status = "missing"  # e.g. of a version that was registered by hand
    if candidate.run_id:
        with suppress(MlflowException):
            status = client.get_run(candidate.run_id).info.status
    if status != "FINISHED":
        raise Refused(f"the run of version {candidate.version} is {status}, not FINISHED")
    if not allow_dirty:
        _require_committed(candidate)


def require_better(
    client: "MlflowClient",
    candidate: "ModelVersion",
    production: "ModelVersion | None",
    gate: Gate,
    evaluation_digest: str | None,
    measure: Measure | None,
    is_counted: bool,
) -> str:
    """The comparison of a candidate that is fast and small enough, reaches the floor and is better than production.

    Raises Refused for another. is_counted: keep that this test set has decided about the candidate.
    """
    _require_within_budget(candidate, gate)
    candidate_digest = candidate.tags.get(EVALUATION_TAG)
    # Metrics with one digest can be compared, whatever changed since.
    if not evaluation_digest or (production and production.tags.get(EVALUATION_TAG) == candidate_digest):
        evaluation_digest = candidate_digest
    new = _evaluated(client, candidate, gate.metric, evaluation_digest, measure)
    summary = f"version {candidate.version} has {gate.metric} {new.value:.4f}"
    if new.value < gate.floor:
        raise Refused(f"{summary}, below the floor of {gate.floor:g}")
    if production is None:
        return f"{summary}, the floor is {gate.floor:g}; no version was in production"
    old = _evaluated(client, production, gate.metric, evaluation_digest, measure)
    summary += f", version {production.version} in production {old.value:.4f}"
    if production.tags.get(EVALUATION_TAG) != evaluation_digest:
        summary += " (evaluated again on the current test set)"
    verdict = compare(new, old, gate, decided_before(client, candidate, evaluation_digest))
    if is_counted and evaluation_digest and evaluation_digest not in decided_by(candidate):
        digests = " ".join([*decided_by(candidate), evaluation_digest])
        client.set_model_version_tag(candidate.name, candidate.version, DECIDED_TAG, digests)
    summary = f"{verdict.answer}: {summary}; {verdict.reason}"
    if verdict.answer == BETTER:
        return summary
    if verdict.answer == UNDECIDED and gate.accepts_undecided:
        return f"{summary}; promote.when_undecided is accept"
    raise (Undecided if verdict.answer == UNDECIDED else Refused)(summary)


def decided_before(client: "MlflowClient", candidate: "ModelVersion", evaluation_digest: str | None) -> int:
    """The number of other versions that the test set of this evaluation has decided about."""
    others = [version for version in versions(client, candidate.name) if version.version != candidate.version]
    return sum(evaluation_digest in decided_by(version) for version in others)


def decided_by(version: "ModelVersion") -> list[str]:
    """The digests of the evaluations that have compared a version with the one in production."""
    return [digest for digest in version.tags.get(DECIDED_TAG, "").split() if digest]


def _require_committed(candidate: "ModelVersion") -> None:
    if candidate.tags.get("dirty") == "false":
        return
    changed = uncommitted()
    same_code = candidate.tags.get("code.digest") == code_digest()
    if same_code and not changed:
        return  # committed after the version was made
    files = candidate.tags.get("dirty.files", "unknown")
    fix = "commit and promote again" if same_code else "commit the code that made it, then `dvc repro`"
    raise Refused(f"version {candidate.version} was made from uncommitted code ({files}); {fix}, or use --allow-dirty")


def _require_within_budget(candidate: "ModelVersion", gate: Gate) -> None:
    budget = (
        ("promote.max_latency_ms", gate.max_latency_ms, LATENCY),
        ("promote.max_memory_mb", gate.max_memory_mb, MEMORY),
    )
    for setting, limit, name in budget:
        value = metric_of(candidate, name)
        if limit and value is None:
            raise Refused(
                f"version {candidate.version} was registered without {name}, which {setting} limits; set it to 0, or "
                f"{REGISTER_AGAIN}"
            )
        if limit and value is not None and not value <= limit:
            where = candidate.tags.get(PROCESSOR_TAG, "an unknown processor")
            raise Refused(
                f"version {candidate.version} has {name} {value:.1f}, measured on {where}; {setting} is {limit:g}"
            )


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
            raise Refused(f"version {version.version} was registered without {metric}")
        evaluated = Evaluated(value, stored_matches(client, version, evaluation_digest, metric, value))
    elif measure is None:
        raise Refused(
            f"version {version.version} was evaluated with another test set or settings, and this workspace has no "
            "test set to evaluate it again; run `dvc repro`"
        )
    else:
        try:
            evaluated = measure(version)
        except RetinanetError as error:
            raise Refused(f"version {version.version} cannot be evaluated on the current test set: {error}") from error
    if not math.isfinite(evaluated.value):
        raise Refused(f"version {version.version} has {metric} {evaluated.value}, which is not a finite number")
    return evaluated

"""Promoters in processes of their own, which share the registry and nothing else, as on several machines."""

import multiprocessing
import os
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from retinanet.tracking.comparison import Evaluated, Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.registry import PRODUCTION, at_alias
from retinanet.tracking.store import open_client
from support.mlflow_forks import mlflow_forks, take_environment

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier, Event

    from mlflow.entities.model_registry import ModelVersion

TIMEOUT_S = 300.0
FAILED = -1  # instead of the number of a round


class Rounds(NamedTuple):
    """For each round the versions whose promoters won; how often the alias was looked up, and was missing."""

    winners: list[list[int]]
    refusals: list[str]
    lookups: int
    missing: int


def promote_in_rounds(model_name: str, versions: Sequence[tuple[int, int]], rounds: int) -> Rounds:
    """In each round every promoter compares with the same production, then all try to replace it at once.

    Each promoter has two versions, and promotes the one that is not in production. The folder and environment are this
    process's.
    """
    context, environment = mlflow_forks(__name__), dict(os.environ)
    barrier, stop, results = context.Barrier(len(versions)), context.Event(), context.Queue()
    promoters = [
        context.Process(target=_promote, daemon=True, args=(environment, model_name, own, rounds, barrier, results))
        for own in versions
    ]
    watcher = context.Process(target=_watch, daemon=True, args=(environment, model_name, stop, results))
    for process in (*promoters, watcher):
        process.start()
    winners: list[list[int]] = [[] for _ in range(rounds)]
    refusals = []
    for _ in range(rounds * len(versions)):
        number, accepted, version, reason = results.get(timeout=TIMEOUT_S)
        if number == FAILED:
            raise AssertionError(reason)
        if accepted:
            winners[number].append(version)
        else:
            refusals.append(reason)
    stop.set()
    lookups, missing = results.get(timeout=TIMEOUT_S)
    for process in (*promoters, watcher):
        process.join()
    return Rounds(winners, refusals, lookups, missing)


def _promote(
    environment: dict[str, str],
    model_name: str,
    own: tuple[int, int],
    rounds: int,
    barrier: "Barrier",
    results: multiprocessing.Queue,
) -> None:
    take_environment(environment)
    try:
        _promote_in_each(model_name, own, rounds, barrier, results)
    except Exception:
        results.put((FAILED, False, own[0], traceback.format_exc()))


def _promote_in_each(
    model_name: str, own: tuple[int, int], rounds: int, barrier: "Barrier", results: multiprocessing.Queue
) -> None:
    client = open_client()

    def measure(version: "ModelVersion") -> Evaluated:
        if int(version.version) == chosen:
            barrier.wait(TIMEOUT_S)  # until every promoter has seen what is in production
        return Evaluated(0.5)

    for number in range(rounds):
        barrier.wait(TIMEOUT_S)
        production = at_alias(client, model_name, PRODUCTION)
        chosen = own[1] if production and int(production.version) == own[0] else own[0]
        decision = promote(
            model_name, chosen, Gate("AP50", 0.0), "now", measure, force=True, again=True, reason=f"round {number}"
        )
        results.put((number, decision.accepted, chosen, decision.reason))


def _watch(environment: dict[str, str], model_name: str, stop: "Event", results: multiprocessing.Queue) -> None:
    take_environment(environment)
    client = open_client()
    while at_alias(client, model_name, PRODUCTION) is None:
        time.sleep(0.01)
    found = []
    while not stop.is_set():
        found.append(at_alias(client, model_name, PRODUCTION) is not None)
        time.sleep(0.005)
    results.put((len(found), found.count(False)))

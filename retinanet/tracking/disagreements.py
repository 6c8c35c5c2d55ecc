"""The page of the test images on which two models disagree most, on request or against the version in production.

It is no output of a DVC stage, because it depends on the registry: an output with `cache: false` would still be hashed
into dvc.lock, so that the same inputs would give another dvc.lock whenever production changes, and the run cache would
bring back a page about a version that is in production no more; `persist` would switch the run cache off. The page is
made after registration, when the registry has just answered and the new version has a number.
"""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import NamedTuple

from retinanet.dataset.coco import read_coco
from retinanet.errors import RetinanetError
from retinanet.evaluation.errors import detections_above
from retinanet.tracking.disagreement_page import write_page
from retinanet.tracking.evaluations import StoredDetections, read_detections, stored_detections
from retinanet.tracking.registry import PRODUCTION, at_alias
from retinanet.tracking.runs import evaluation_run
from retinanet.tracking.store import open_client, store_errors

MAX_SECONDS = 30.0  # for production's detections


class Detected(NamedTuple):
    """A model's name, and its detections on the test split."""

    name: str
    stored: StoredDetections


def write_disagreements(page: Path, model_name: str, old: Detected, new: Detected, test_json: Path) -> tuple[int, int]:
    """Write the page; returns the numbers of images on which the new model is worse and better."""
    test_set, found = read_coco(test_json), []
    for _, (results, thresholds) in (old, new):
        of_classes = [thresholds.get(class_name, 1.0) for class_name in test_set.class_names]
        found.append(detections_above(test_set, results, of_classes))
    facts = {"model": model_name, "test images": f"{len(test_set.images)}"}
    return write_page(page, test_set, found[0], found[1], (old.name, new.name), facts)


def compare_with_production(model_name: str, number: int, paths: ModuleType) -> str:
    """Write the page of the workspace's version against production, and log it; returns a line on it or why not.

    Nothing is raised, and nothing waited for longer than MAX_SECONDS: a missing page is no reason to stop.
    """
    paths.DISAGREEMENTS.unlink(missing_ok=True)  # about an earlier version
    try:
        digest = json.loads(paths.EVALUATION_DIGEST.read_text(encoding="utf-8"))["digest"]
        production = _within(MAX_SECONDS, lambda: _production(model_name, number, digest))
        if isinstance(production, str):
            return f"no {paths.DISAGREEMENTS}: {production}"
        new = Detected(f"version {number}", read_detections(paths.DETECTIONS, paths.OPERATING_POINTS))
        worse, better = write_disagreements(paths.DISAGREEMENTS, model_name, production, new, paths.TEST_JSON)
        with evaluation_run(paths.RUN, digest) as run:
            run.log_artifact(paths.DISAGREEMENTS, "evaluate")
    except Exception as error:  # stores raise errors of their own libraries
        return f"no {paths.DISAGREEMENTS}: {' '.join(str(error).split())[:200]}"
    counts = f"worse than {production.name} in production on {worse} test images, better on {better}"
    return f"{counts}; see {paths.DISAGREEMENTS}"


def _production(model_name: str, number: int, digest: str) -> Detected | str:
    """The version in production with its detections, or why there is nothing to compare with."""
    with store_errors():
        client = open_client()
        version = at_alias(client, model_name, PRODUCTION)
        if version is None:
            return "no version is in production"
        if int(version.version) == number:
            return f"version {number} is the one in production"
        stored = stored_detections(client, version, digest)
    if stored is None:
        return f"version {version.version} in production has no detections on this test split with these settings"
    return Detected(f"version {version.version}", stored)


def _within(seconds: float, run: Callable[[], Detected | str]) -> Detected | str:
    """What `run` returns, or that it takes too long; its thread is left to end with the process."""
    answers: list[Detected | str | Exception] = []

    def keep_answer() -> None:
        try:
            answers.append(run())
        except Exception as error:
            answers.append(error)

    thread = Thread(target=keep_answer, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        return f"production's detections did not come within {seconds:g} s; `retinanet compare --page` waits for them"
    if isinstance(answers[0], Exception):
        raise RetinanetError(str(answers[0]))
    return answers[0]

"""Commands that decide which version is in production."""

import json
from argparse import Namespace
from pathlib import Path

from retinanet.cli.workspace import workspace_paths
from retinanet.errors import TrackingError

EXIT_REFUSED, EXIT_UNDECIDED = 3, 4


def status(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.status import history_text, status_text

    params = load_params()
    name = params.tracking.model_name
    if arguments.history:
        print(history_text(name))
        return 0
    print(status_text(name, params.promote.metric, _workspace_version(name), params.tracking.experiment))
    return 0


def compare(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.version_differences import differences_text

    params = load_params()
    new = arguments.new or _workspace_version(params.tracking.model_name)
    if new is None:
        raise TrackingError("this workspace has not registered a version yet; run `dvc repro`, or name two versions")
    print(differences_text(params.tracking.model_name, str(new), arguments.old, params.promote.metric))
    if arguments.page:
        _write_disagreements(arguments.page, params.tracking.model_name, str(new), arguments.old)
    return 0


def _write_disagreements(page: Path, model_name: str, new: str, old: str) -> None:
    from retinanet.cli.disagreements import write_page
    from retinanet.dataset.coco import read_coco
    from retinanet.evaluation.errors import detections_above
    from retinanet.tracking.version_differences import detections_of

    if page.exists():
        raise TrackingError(f"{page} exists, and no file is replaced; choose another name for --page")
    test_set, digest = read_coco(workspace_paths().TEST_JSON), _evaluation_digest()
    numbers, found = [], []
    for name in (old, new):
        number, stored = detections_of(model_name, name, digest)
        numbers.append(f"version {number}")
        thresholds = [stored.thresholds.get(class_name, 1.0) for class_name in test_set.class_names]
        found.append(detections_above(test_set, stored.results, thresholds))
    facts = {"model": model_name, "test images": f"{len(test_set.images)}"}
    worse, better = write_page(page, test_set, found[0], found[1], (numbers[0], numbers[1]), facts)
    print(f"{numbers[1]} is worse on {worse} test images and better on {better}: {page}")


def promote(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion
    from retinanet.tracking.comparison import Gate
    from retinanet.tracking.remeasure import measure_version
    from retinanet.tracking.store import open_client

    if (arguments.again or arguments.force) and not arguments.reason:
        arguments.parser.error("--again and --force need --reason TEXT, which the history keeps")
    params, paths = load_params(), workspace_paths()
    version = arguments.version
    if version is None:
        version = _workspace_version(params.tracking.model_name)
    if version is None:
        raise TrackingError(
            f"{paths.REGISTERED}: no version of {params.tracking.model_name} in this store; run `dvc repro`, or "
            "`retinanet sync` if it was registered elsewhere, or use --version"
        )
    # Without a test set here, only versions with the same evaluation digest can be compared.
    digest, pattern = _evaluation_digest(), params.evaluate.slice_pattern
    decision = promotion.promote(
        params.tracking.model_name,
        version,
        Gate(**params.promote.gate()),
        digest,
        (lambda v: measure_version(open_client(), v, paths.TEST_JSON, params.promote.metric, pattern))
        if digest
        else None,
        dry_run=arguments.dry_run,
        allow_dirty=arguments.allow_dirty,
        again=arguments.again,
        force=arguments.force,
        reason=arguments.reason,
        trusted_keys=params.promote.require_signature,
    )
    print(f"{'accepted' if decision.accepted else 'refused'}: {decision.reason}")
    if decision.undecided:
        return EXIT_UNDECIDED
    return 0 if decision.accepted else EXIT_REFUSED


def rollback(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion

    decision = promotion.rollback(load_params().tracking.model_name, arguments.reason)
    print(f"{'done' if decision.accepted else 'refused'}: {decision.reason}")
    return 0 if decision.accepted else EXIT_REFUSED


def _evaluation_digest() -> str | None:
    """The digest of this workspace's evaluation, or None if it has no test set to compare on."""
    paths = workspace_paths()
    if not (paths.EVALUATION_DIGEST.exists() and paths.TEST_JSON.exists()):
        return None
    return str(json.loads(paths.EVALUATION_DIGEST.read_text(encoding="utf-8"))["digest"])


def _workspace_version(model_name: str) -> int | None:
    """The version that the export stage registered in this workspace."""
    from retinanet.tracking.sync import workspace_version

    return workspace_version(model_name, workspace_paths())

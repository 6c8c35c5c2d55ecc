"""Commands that decide which version is in production."""

import json
from argparse import Namespace

from retinanet.cli.workspace import workspace_paths
from retinanet.errors import TrackingError

EXIT_REFUSED, EXIT_UNDECIDED = 3, 4


def status(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.status import status_text

    params = load_params()
    name = params.tracking.model_name
    print(status_text(name, params.promote.metric, _workspace_version(name)))
    return 0


def compare(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.version_differences import differences_text

    params = load_params()
    new = arguments.new or _workspace_version(params.tracking.model_name)
    if new is None:
        raise TrackingError("this workspace has not registered a version yet; run `dvc repro`, or name two versions")
    print(differences_text(params.tracking.model_name, str(new), arguments.old, params.promote.metric))
    return 0


def promote(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion
    from retinanet.tracking.comparison import Gate
    from retinanet.tracking.remeasure import measure_version
    from retinanet.tracking.store import open_client

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
    can_measure = paths.EVALUATION_DIGEST.exists() and paths.TEST_JSON.exists()
    decision = promotion.promote(
        params.tracking.model_name,
        version,
        Gate(**params.promote.gate()),
        json.loads(paths.EVALUATION_DIGEST.read_text(encoding="utf-8"))["digest"] if can_measure else None,
        (lambda v: measure_version(open_client(), v, paths.TEST_JSON, params.promote.metric)) if can_measure else None,
        dry_run=arguments.dry_run,
        allow_dirty=arguments.allow_dirty,
        trusted_keys=params.promote.require_signature,
    )
    print(f"{'accepted' if decision.accepted else 'refused'}: {decision.reason}")
    if decision.undecided:
        return EXIT_UNDECIDED
    return 0 if decision.accepted else EXIT_REFUSED


def rollback(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking import promotion

    decision = promotion.rollback(load_params().tracking.model_name)
    print(f"{'done' if decision.accepted else 'refused'}: {decision.reason}")
    return 0 if decision.accepted else EXIT_REFUSED


def _workspace_version(model_name: str) -> int | None:
    """The version that the export stage registered in this workspace."""
    from retinanet.tracking.sync import workspace_version

    return workspace_version(model_name, workspace_paths())

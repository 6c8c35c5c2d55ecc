"""Commands that decide which version is in production."""

from argparse import Namespace

from retinanet.cli.workspace import evaluation_digest, workspace_paths
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
    from retinanet.cli.comparing import print_differences
    from retinanet.config.params import load_params

    params, paths = load_params(), workspace_paths()
    new = arguments.new
    if new is None:
        version = _workspace_version(params.tracking.model_name)
        new = "workspace" if version is None else f"version:{version}"
    print_differences(new, arguments.old, arguments.page, params, paths)
    return 0


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
    digest, pattern = evaluation_digest(), params.evaluate.slice_pattern
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


def _workspace_version(model_name: str) -> int | None:
    """The version that the export stage registered in this workspace."""
    from retinanet.tracking.sync import workspace_version

    return workspace_version(model_name, workspace_paths())

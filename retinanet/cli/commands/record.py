"""Commands about how versions came about."""

from argparse import Namespace
from pathlib import Path

from retinanet.cli.workspace import trusted_keys, workspace_paths
from retinanet.errors import TrackingError

EXIT_DIFFERENT = 3


def sync(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.sync import sync as bring_up_to_date

    lines = bring_up_to_date(load_params().tracking.model_name, workspace_paths())
    print("\n".join(lines) or "MLflow has this workspace's run and version already")
    return 0


def reproduce(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.files import repo_root
    from retinanet.tracking.reproduce import plan, read_recorded, reproduction

    recorded = read_recorded(load_params().tracking.model_name, arguments.name)
    if arguments.dry_run:
        print("\n".join(plan(recorded, arguments.at)))
        return 0
    found = reproduction(recorded, repo_root().resolve(), arguments.at, workspace_paths())
    print("\n".join(["", *found.lines]))
    return 0 if found.is_equal else EXIT_DIFFERENT


def sign(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.registered_weights import named_version, version_uri
    from retinanet.tracking.signing import sign as sign_version
    from retinanet.tracking.store import open_client, store_errors
    from retinanet.tracking.verify import verify as verify_version

    name = load_params().tracking.model_name
    _, checks = verify_version(name, arguments.name, None)
    if problems := [problem for check in checks for problem in check.problems]:
        print(f"refused, nothing is signed: {'; '.join(problems)}")
        return EXIT_DIFFERENT
    with store_errors():
        client = open_client()
        version = named_version(client, version_uri(name, arguments.name))
        fingerprint = sign_version(client, version, arguments.key)
    print(f"{name} version {version.version} signed by {fingerprint}")
    return 0


def verify(arguments: Namespace) -> int:
    from retinanet.config.params import load_params
    from retinanet.tracking.verify import CHECKS
    from retinanet.tracking.verify import verify as verify_version

    keys = arguments.key or trusted_keys()
    if not keys and not arguments.unsigned:
        raise TrackingError(
            "no trusted key; use --key FILE or promote.require_signature, or --unsigned to leave out the signature"
        )
    name = load_params().tracking.model_name
    number, checks = verify_version(name, arguments.name, None if arguments.unsigned else Path(keys))
    for check in checks:
        answer, texts = ("failed", check.problems) if check.problems else ("ok", [CHECKS[check.name]])
        print("\n".join(f"{answer:7} {check.name + ':':10} {text}" for text in texts))
    if failed := [check.name for check in checks if check.problems]:
        print(f"refused: {name} version {number} failed {', '.join(failed)}")
        return EXIT_DIFFERENT
    print(f"verified: {name} version {number}{', without a signature' if arguments.unsigned else ''}")
    return reproduce(Namespace(name=str(number), at=None, dry_run=False)) if arguments.retrain else 0

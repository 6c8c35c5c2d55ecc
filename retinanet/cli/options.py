"""The commands for data, training, deciding and the record, with their options."""

from argparse import ArgumentParser as Parser
from collections.abc import Callable
from pathlib import Path

from retinanet.cli.argument_types import file_name, positive
from retinanet.cli.commands import data, deciding, record, training


def data_commands(command: Callable[..., Parser]) -> list[Parser]:
    init = command(
        data.init,
        "look at labeled images and write params.yaml settings that fit them and this machine",
        "data/my_images --minutes 45",
    )
    init.add_argument(
        "data",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="folder or archive of labeled images (default: the source of params.yaml)",
    )
    init.add_argument("--minutes", type=positive, default=45, help="that the whole `dvc repro` may take (default: 45)")
    init.add_argument(
        "--orientation",
        choices=["upright", "any"],
        help="any: images without a fixed orientation, such as aerial and microscope images (default: guessed)",
    )
    init.add_argument("--dry-run", action="store_true", help="print the settings and write nothing")
    datasets = command(data.datasets, "list the public datasets that download.source knows by name", "")
    fit = command(data.fit_anchors, "after prepare: propose anchor sizes and ratios for the data", "--write")
    _add_params_options(fit)
    return [init, datasets, fit]


def training_commands(command: Callable[..., Parser]) -> list[Parser]:
    preset = command(
        training.preset, "show or write what a published recipe changes in params.yaml", "torchvision_v2 --write"
    )
    preset.add_argument("name", metavar="NAME", help="torchvision_v1, torchvision_v2 or detectron2")
    _add_params_options(preset)
    check = command(training.check_training, "after prepare: overfit a batch, try learning rates", "--steps 60")
    check.add_argument("--steps", type=positive, default=40, help="training steps of each check (default: 40)")
    sweep = command(
        training.sweep, "search for better settings with Optuna, in MLflow runs below one", "space.yaml --trials 20"
    )
    sweep.set_defaults(extra="sweep")
    sweep.add_argument(
        "space", nargs="?", type=Path, metavar="FILE", help="search space, a YAML file (default: docs/training.md)"
    )
    sweep.add_argument("--trials", type=positive, default=20, help="of the study, by all workers (default: 20)")
    sweep.add_argument("--workers", type=positive, default=1, help="processes on this machine (default: 1)")
    sweep.add_argument("--study", type=file_name, default="sweep", metavar="NAME", help="default: sweep")
    sweep.add_argument("--storage", metavar="URL", help="database of studies (default: sqlite:///sweeps.db)")
    sweep.add_argument(
        "--pruner",
        choices=["median", "hyperband", "none"],
        default="median",
        help="stops unpromising trials at validations (default: median)",
    )
    sweep.add_argument(
        "--lost-after",
        type=positive,
        default=120,
        metavar="SECONDS",
        help="try a trial again whose worker gives no sign of life for so long (default: 120)",
    )
    replay = command(
        training.replay_step,
        "repeat a training step whose loss was NaN or infinite",
        ".cache/training/1f0c7a/failed-step.pt",
    )
    replay.add_argument("file", type=Path, help="the failed-step.pt that training wrote")
    return [preset, check, sweep, replay]


def deciding_commands(command: Callable[..., Parser]) -> list[Parser]:
    status = command(deciding.status, "list the registered versions and which one is in production", "--history")
    status.add_argument("--history", action="store_true", help="every promotion and rollback: who, when, why, the gate")
    compare = command(
        deciding.compare,
        "what differs between two models: settings, data, and metrics with intervals",
        "HEAD production",
    )
    compare.add_argument(
        "new",
        nargs="?",
        help="number or alias of a version, git revision, DVC experiment, .onnx or .safetensors file, or workspace "
        "(default: this workspace's version); version:, alias:, git:, exp: or file: before it says which",
    )
    compare.add_argument("old", nargs="?", default="production", help="what it is compared with (default: production)")
    compare.add_argument(
        "--page",
        type=Path,
        metavar="FILE.html",
        help="write a page of the test images on which they disagree most; needs this workspace's test split",
    )
    promote = command(
        deciding.promote,
        "put a version into production if it passes the gate (params.yaml: promote)",
        "--version 4 --dry-run",
    )
    promote.add_argument("--version", type=positive, help="default: the version that this workspace registered")
    promote.add_argument("--dry-run", action="store_true", help="print the decision and change nothing")
    promote.add_argument("--allow-dirty", action="store_true", help="accept a version made from uncommitted code")
    promote.add_argument("--again", action="store_true", help="promote a version that was rolled back; needs --reason")
    promote.add_argument(
        "--force", action="store_true", help="promote a version that the comparison refuses; needs --reason"
    )
    rollback = command(
        deciding.rollback, "put the previous version back into production", "--reason 'misses trees in shadow'"
    )
    for changing in (promote, rollback):
        changing.add_argument("--reason", default="", metavar="TEXT", help="recorded in `retinanet status --history`")
    return [status, compare, promote, rollback]


def record_commands(command: Callable[..., Parser]) -> list[Parser]:
    sync = command(record.sync, "bring MLflow to what dvc.lock, models/ and reports/ say", "")
    reproduce = command(
        record.reproduce, "make a version again from its commit, params and data, and compare", "production --dry-run"
    )
    reproduce.add_argument("name", metavar="VERSION", help="number of a version, or an alias")
    reproduce.add_argument(
        "--at", type=Path, metavar="FOLDER", help="a new folder that is kept (default: a temporary one)"
    )
    reproduce.add_argument("--dry-run", action="store_true", help="print what would be done")
    sign = command(record.sign, "sign a version's files, record, tags and description", "4 --key signing-key")
    sign.add_argument("name", metavar="VERSION", help="number of a version, or an alias")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="private ed25519 key, OpenSSH or PEM")
    verify = command(
        record.verify,
        "check a version without running it: signature, digests, data, metrics",
        "4 --key signing-key.pub",
    )
    verify.add_argument("name", metavar="VERSION", help="number of a version, or an alias")
    keys = verify.add_mutually_exclusive_group()
    keys.add_argument(
        "--key", type=Path, metavar="FILE", help="trusted public keys (default: promote.require_signature)"
    )
    keys.add_argument("--unsigned", action="store_true", help="check everything but the signature")
    verify.add_argument("--retrain", action="store_true", help="if all of that holds, also run `retinanet reproduce`")
    return [sync, reproduce, sign, verify]


def _add_params_options(parser: Parser) -> None:
    parser.add_argument("--write", action="store_true", help="write these settings and keep the file's comments")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")

"""The command `retinanet`: its commands and their options."""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import retinanet
from retinanet.cli.commands import data, deciding, record, training, using
from retinanet.cli.written_formats import WRITTEN_FORMATS
from retinanet.errors import RetinanetError, exit_on_error
from retinanet.threads import wait_without_spinning

Parser = argparse.ArgumentParser


@exit_on_error
def main() -> int | None:
    """Exit codes: 0 done, 1 an error or an unreadable image, 2 wrong usage, 3 refused or different, 4 undecided."""
    # File names may have characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args()
    wait_without_spinning()
    try:
        return arguments.command(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "retinanet").split(".")[0] == "retinanet":
            raise
        raise RetinanetError(
            f"this command needs {error.name}, which is not installed; run pip install 'retinanet[pipeline]'"
        ) from error


def _parser() -> Parser:
    parser = Parser(
        prog="retinanet",
        usage="retinanet [-h] [--version] COMMAND ...",
        description="Train, promote and use a RetinaNet detector.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"retinanet {retinanet.__version__}")
    parsers = parser.add_subparsers(prog="retinanet", required=True, metavar="COMMAND", help=argparse.SUPPRESS)

    def command(run: Callable[[argparse.Namespace], int], summary: str, example: str) -> Parser:
        name = run.__name__.replace("_", "-")
        description = f"{summary[0].upper()}{summary[1:]}."
        # No help=: the groups below list the commands.
        added = parsers.add_parser(name, description=description, epilog=f"e.g. retinanet {name} {example}".rstrip())
        added.set_defaults(command=run, summary=summary)
        return added

    groups = {"data": _data(command), "training": _training(command)}
    groups |= {"deciding": _deciding(command), "record": _record(command), "using": _using(command)}
    for group, members in groups.items():
        rows = [f"  {member.prog.split()[-1]:16}{member.get_default('summary')}" for member in members]
        parser.epilog = "\n".join([*([parser.epilog, ""] if parser.epilog else []), f"{group}:", *rows])
    return parser


def _data(command: Callable[..., Parser]) -> list[Parser]:
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
    init.add_argument("--minutes", type=_positive, default=45, help="that the whole `dvc repro` may take (default: 45)")
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


def _training(command: Callable[..., Parser]) -> list[Parser]:
    preset = command(
        training.preset, "show or write what a published recipe changes in params.yaml", "torchvision_v2 --write"
    )
    preset.add_argument("name", metavar="NAME", help="torchvision_v1, torchvision_v2 or detectron2")
    _add_params_options(preset)
    check = command(training.check_training, "after prepare: overfit a batch, try learning rates", "--steps 60")
    check.add_argument("--steps", type=_positive, default=40, help="training steps of each check (default: 40)")
    replay = command(
        training.replay_step,
        "repeat a training step whose loss was NaN or infinite",
        ".cache/training/1f0c7a/failed-step.pt",
    )
    replay.add_argument("file", type=Path, help="the failed-step.pt that training wrote")
    return [preset, check, replay]


def _deciding(command: Callable[..., Parser]) -> list[Parser]:
    status = command(deciding.status, "list the registered versions and which one is in production", "")
    compare = command(
        deciding.compare,
        "what differs between two versions: settings, data, and metrics with intervals",
        "4 production",
    )
    compare.add_argument("new", nargs="?", help="number of a version, or an alias (default: this workspace's version)")
    compare.add_argument("old", nargs="?", default="production", help="what it is compared with (default: production)")
    promote = command(
        deciding.promote,
        "put a version into production if it passes the gate (params.yaml: promote)",
        "--version 4 --dry-run",
    )
    promote.add_argument("--version", type=_positive, help="default: the version that this workspace registered")
    promote.add_argument("--dry-run", action="store_true", help="print the decision and change nothing")
    promote.add_argument("--allow-dirty", action="store_true", help="accept a version made from uncommitted code")
    rollback = command(deciding.rollback, "put the previous version back into production", "")
    return [status, compare, promote, rollback]


def _record(command: Callable[..., Parser]) -> list[Parser]:
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


def _using(command: Callable[..., Parser]) -> list[Parser]:
    predict = command(
        using.predict,
        "detect objects in images: drawn copies and COCO results",
        "photos/ cat.jpg --model models:/retinanet@production --out found",
    )
    predict.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    _add_model_option(predict)
    predict.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="a new or empty folder: no file is replaced (default: predictions, or predictions-2 ... if it has files)",
    )
    _add_score_option(predict)
    predict.add_argument(
        "--agnostic-nms",
        type=_fraction,
        metavar="IOU",
        help="of boxes that overlap more than this, keep the best one, whatever their classes (default: by class only)",
    )
    predict.add_argument("--no-draw", dest="draw", action="store_false", help="write no drawn copies, which is faster")
    predict.add_argument(
        "--format",
        action="append",
        choices=list(WRITTEN_FORMATS),
        default=[],
        help="also write the detections as annotations that labeling tools import; may be repeated",
    )
    count = command(
        using.count,
        "count objects in a set of images, with a 95%% interval from a few images that you count yourself",
        "photos/ --counted counted.csv",
    )
    count.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    count.add_argument(
        "--counted",
        type=Path,
        metavar="FILE",
        default=Path("counted.csv"),
        help="table of the images that you counted: image, and a column for each class (default: counted.csv)",
    )
    count.add_argument(
        "--draw", type=_positive, metavar="N", help="add N images, drawn at random, to the table to fill in"
    )
    _add_model_option(count)
    _add_score_option(count)
    return [predict, count]


def _add_model_option(parser: Parser) -> None:
    parser.add_argument(
        "--model",
        help="a .onnx or .safetensors file, models:/NAME@ALIAS or models:/NAME/VERSION "
        "(default: models/export/model.onnx, or models/model.safetensors if that is missing)",
    )


def _add_score_option(parser: Parser) -> None:
    parser.add_argument(
        "--score", type=_fraction, help="minimum score, in 0..1 (default: that of each class, which was chosen on val)"
    )


def _add_params_options(parser: Parser) -> None:
    parser.add_argument("--write", action="store_true", help="write these settings and keep the file's comments")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..1")
    return value


if __name__ == "__main__":
    main()

"""The command `retinanet`: its commands and their options."""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import retinanet
from retinanet.cli.argument_types import fraction, positive, rate
from retinanet.cli.commands import data, deciding, record, serving, training, using
from retinanet.cli.raster_options import add_raster_options
from retinanet.cli.written_formats import WRITTEN_FORMATS
from retinanet.errors import RetinanetError, exit_on_error
from retinanet.threads import wait_without_spinning

Parser = argparse.ArgumentParser
# The optional extra of pyproject.toml that a package belongs to; others are of `pipeline`.
EXTRAS = {"rasterio": "raster", "pyogrio": "raster"}


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
        extra = "serve" if arguments.command is serving.serve else EXTRAS.get(error.name or "", "pipeline")
        raise RetinanetError(
            f"this command needs {error.name}, which is not installed; run pip install 'retinanet[{extra}]'"
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
        added.set_defaults(command=run, summary=summary, parser=added)
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


def _training(command: Callable[..., Parser]) -> list[Parser]:
    preset = command(
        training.preset, "show or write what a published recipe changes in params.yaml", "torchvision_v2 --write"
    )
    preset.add_argument("name", metavar="NAME", help="torchvision_v1, torchvision_v2 or detectron2")
    _add_params_options(preset)
    check = command(training.check_training, "after prepare: overfit a batch, try learning rates", "--steps 60")
    check.add_argument("--steps", type=positive, default=40, help="training steps of each check (default: 40)")
    replay = command(
        training.replay_step,
        "repeat a training step whose loss was NaN or infinite",
        ".cache/training/1f0c7a/failed-step.pt",
    )
    replay.add_argument("file", type=Path, help="the failed-step.pt that training wrote")
    return [preset, check, replay]


def _deciding(command: Callable[..., Parser]) -> list[Parser]:
    status = command(deciding.status, "list the registered versions and which one is in production", "--history")
    status.add_argument("--history", action="store_true", help="every promotion and rollback: who, when, why, the gate")
    compare = command(
        deciding.compare,
        "what differs between two versions: settings, data, and metrics with intervals",
        "4 production",
    )
    compare.add_argument("new", nargs="?", help="number of a version, or an alias (default: this workspace's version)")
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
        "detect objects in images or videos: drawn copies, COCO results, JSON lines",
        "photos/ cat.jpg --model models:/retinanet@production --out found",
    )
    predict.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER_OR_VIDEO")
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
        type=fraction,
        metavar="IOU",
        help="of boxes that overlap more than this, keep the best one, whatever their classes (default: by class only)",
    )
    predict.add_argument(
        "--draw",
        action=argparse.BooleanOptionalAction,
        help="write drawn copies (default: of images, not of videos, where they take time)",
    )
    frames = predict.add_mutually_exclusive_group()
    frames.add_argument("--every", type=positive, metavar="N", help="of videos: only every Nth frame")
    frames.add_argument("--fps", type=rate, metavar="RATE", help="of videos: RATE frames of a second, e.g. 2 or 0.1")
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
        "--draw", type=positive, metavar="N", help="add N images, drawn at random, to the table to fill in"
    )
    _add_model_option(count)
    _add_score_option(count)
    serve = command(
        serving.serve,
        "answer requests over HTTP with the detections of a model, and follow its alias",
        "--model models:/retinanet@production --port 8000",
    )
    serving.add_options(serve)
    explain = command(
        using.explain,
        "show which parts of images their detections rest on: a page with heat maps",
        "photo.jpg --model models/model.safetensors --out why",
    )
    explain.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    explain.add_argument(
        "--model", metavar="FILE", help="a .safetensors file (default: models/model.safetensors of this workspace)"
    )
    explain.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("explained"), help="a new or empty folder (default: explained)"
    )
    explain.add_argument("--count", type=positive, default=12, help="detections of each image (default: 12)")
    explain.add_argument(
        "--method",
        choices=["hirescam", "gradcam", "gradcam++", "eigencam"],
        default="hirescam",
        help="how heat maps are computed (default: hirescam; docs/explanation.md compares them)",
    )
    _add_score_option(explain)
    mapping = command(
        using.map,
        "detect objects in a raster of any size, such as an orthophoto: a GeoPackage or GeoJSON layer",
        "ortho.tif --model models:/retinanet@production --out trees.gpkg",
    )
    add_raster_options(mapping)
    _add_model_option(mapping)
    _add_score_option(mapping)
    return [predict, count, mapping, explain, serve]


def _add_model_option(parser: Parser) -> None:
    parser.add_argument(
        "--model",
        help="a .onnx or .safetensors file, models:/NAME@ALIAS or models:/NAME/VERSION "
        "(default: models/export/model.onnx, or models/model.safetensors if that is missing)",
    )


def _add_score_option(parser: Parser) -> None:
    parser.add_argument(
        "--score", type=fraction, help="minimum score, in 0..1 (default: that of each class, which was chosen on val)"
    )


def _add_params_options(parser: Parser) -> None:
    parser.add_argument("--write", action="store_true", help="write these settings and keep the file's comments")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")


if __name__ == "__main__":
    main()

"""The command `retinanet`: what it takes."""

import argparse
from collections.abc import Callable
from pathlib import Path

from retinanet.cli import commands
from retinanet.errors import exit_on_error


@exit_on_error
def main() -> int | None:
    """Exit codes: 0 done, 1 an error or an unreadable image, 2 wrong usage, 3 a promotion refused."""
    arguments = _parser().parse_args()
    return arguments.command(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="retinanet", description="A RetinaNet detector and its versions.")
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = _command(
        parsers,
        commands.predict,
        "draw the detections on images and write them as COCO results",
        "retinanet predict photos/ cat.jpg --model models:/retinanet@production --out found",
    )
    predict.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    predict.add_argument(
        "--model",
        help="a .onnx or .safetensors file, models:/NAME@ALIAS or models:/NAME/VERSION "
        "(default: models/export/model.onnx, or models/model.safetensors where there is none)",
    )
    predict.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions")
    predict.add_argument("--score", type=_share, default=0.3, help="leave out detections below it (default: 0.3)")

    promote = _command(
        parsers,
        commands.promote,
        "put a version into production if it is good enough (params.yaml, section promote)",
        "retinanet promote --version 4 --dry-run",
    )
    promote.add_argument("--version", type=int, help="default: the version that this workspace made")
    promote.add_argument("--dry-run", action="store_true", help="say what would happen, and move nothing")
    promote.add_argument("--allow-dirty", action="store_true", help="also a version of uncommitted code")

    _command(parsers, commands.rollback, "put the version back that was in production before", "retinanet rollback")
    _command(parsers, commands.status, "show the versions and which is in production", "retinanet status")
    _command(
        parsers, commands.datasets, "list the public sets that download.source knows by name", "retinanet datasets"
    )

    check = _command(
        parsers,
        commands.check_training,
        "tell in a minute whether data and model fit together, and which learning rate to take",
        "retinanet check-training --steps 60",
    )
    check.add_argument("--steps", type=_count, default=40, help="of each of the two trials (default: 40)")

    preset = _command(
        parsers,
        commands.preset,
        "show what a preset (torchvision_v1, torchvision_v2, detectron2) would change in params.yaml, or write it",
        "retinanet preset torchvision_v2 --write",
    )
    preset.add_argument("name", metavar="NAME")
    _may_write_params(preset)

    fit = _command(
        parsers,
        commands.fit_anchors,
        "propose anchor sizes and ratios for the prepared data, and say what they would reach",
        "retinanet fit-anchors --write",
    )
    _may_write_params(fit)

    replay = _command(
        parsers,
        commands.replay_step,
        "look into a training step whose loss was not finite",
        "retinanet replay-step .cache/training/1f0c7a/failed-step.pt",
    )
    replay.add_argument("file", type=Path)
    return parser


def _command(
    parsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    run: Callable[[argparse.Namespace], int],
    what: str,
    example: str,
) -> argparse.ArgumentParser:
    name = run.__name__.replace("_", "-")
    parser = parsers.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=f"e.g. {example}")
    parser.set_defaults(command=run)
    return parser


def _may_write_params(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="put it into the params file, which keeps its comments")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..1")
    return value


if __name__ == "__main__":
    main()

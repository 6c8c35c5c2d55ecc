"""The commands that use a model, with their options."""

from argparse import ArgumentParser as Parser
from argparse import BooleanOptionalAction
from collections.abc import Callable
from pathlib import Path

from retinanet.cli.argument_types import fraction, positive, rate
from retinanet.cli.commands import serving, using
from retinanet.cli.raster_options import add_raster_options
from retinanet.cli.written_formats import WRITTEN_FORMATS


def using_commands(command: Callable[..., Parser]) -> list[Parser]:
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
        action=BooleanOptionalAction,
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
        "count objects in a set of images, with a 95% interval from a few images that you count yourself",
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
        help="an exported model (.onnx, .xml), a .safetensors file, models:/NAME@ALIAS or models:/NAME/VERSION "
        "(default: what this workspace exported to be served, or models/model.safetensors if that is missing)",
    )


def _add_score_option(parser: Parser) -> None:
    parser.add_argument(
        "--score", type=fraction, help="minimum score, in 0..1 (default: that of each class, which was chosen on val)"
    )

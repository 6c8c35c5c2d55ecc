"""The options of `retinanet map`, without the libraries that it needs."""

import argparse
from pathlib import Path

from retinanet.cli.argument_types import positive


def add_raster_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("raster", type=Path, metavar="RASTER", help="GeoTIFF, plain TIFF, PNG, JPEG ...")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="a new .gpkg or .geojson file (GeoJSON is in WGS 84)"
    )
    parser.add_argument(
        "--bands", type=_bands, metavar="R,G,B", default=(), help="of red, green and blue (default: the first three)"
    )
    parser.add_argument(
        "--range", type=_range, metavar="LOW,HIGH", help="values that become black and white; needed unless 8-bit"
    )
    parser.add_argument(
        "--tile",
        type=positive,
        metavar="PX",
        help="side of the area that looks like a training image, in pixels of the raster (default: as in training)",
    )
    parser.add_argument(
        "--window",
        type=positive,
        default=2,
        metavar="N",
        help="the network sees N x N such areas at a time: fewer take less memory, but more boxes are near their edges "
        "(default: 2)",
    )
    parser.add_argument("--overlap", type=_share, metavar="SHARE", help="between tiles (default: as in training)")
    parser.add_argument(
        "--memory", type=positive, default=512, metavar="MB", help="for reading the raster (default: 512)"
    )


def _bands(text: str) -> tuple[int, ...]:
    bands = tuple(int(band) for band in text.split(","))
    if len(bands) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text} is not three bands, e.g. 3,2,1, or one")
    return bands


def _range(text: str) -> tuple[float, float]:
    values = tuple(float(value) for value in text.split(","))
    if len(values) != 2 or not values[0] < values[1]:
        raise argparse.ArgumentTypeError(f"{text} is not LOW,HIGH with LOW below HIGH")
    return values


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0 and below 1")
    return value

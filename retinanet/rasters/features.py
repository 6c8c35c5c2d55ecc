"""Write detections as polygons for geographic information systems: GeoPackage or GeoJSON, by GDAL."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyogrio.raw
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError, GeometryError

from retinanet.errors import RetinanetError
from retinanet.rasters.grid import Transform
from retinanet.rasters.merging import Placed

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
LAYER = "detections"
POLYGON = 3  # of well-known binary
WKB = np.dtype([("little_endian", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])


def check_new(out: Path) -> None:
    """Raise RetinanetError unless `out` is a new file of a known format in a folder that exists."""
    if out.suffix.lower() not in DRIVERS:
        raise RetinanetError(f"{out}: the name must end in {' or '.join(DRIVERS)}")
    if out.exists() or out.is_symlink():
        raise RetinanetError(f"{out}: exists already, and no file is replaced; choose another with --out")
    if not out.parent.is_dir():
        raise RetinanetError(f"{out.parent}: no such folder; create it, or choose another --out")


def write_features(
    out: Path,
    rows: Iterable[Placed],
    thresholds: float | Sequence[float],
    class_names: Sequence[str],
    model: str,
    crs: str | None,
    transform: Transform,
) -> dict[str, int]:
    """Write the detections of at least their class's threshold as a layer; returns the number of each class.

    Each is a polygon with the fields class, score and model, in the raster's coordinate system; GeoJSON with a
    coordinate system is in WGS 84 (RFC 7946). Without one, coordinates are pixels, y downwards. The file appears when
    it is complete. Raises RetinanetError if it cannot be written.
    """
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), len(class_names))
    kept = [row.rows(row.scores >= limits[row.labels]) for row in rows]
    labels = np.concatenate([row.labels for row in kept])
    scores = np.concatenate([row.scores for row in kept]).astype(np.float64).round(4)
    polygons = _polygons(np.concatenate([row.boxes for row in kept]), transform)
    names = np.array(class_names, object)[labels]
    driver = DRIVERS[out.suffix.lower()]
    # RFC 7946 is in WGS 84: GDAL transforms the polygons.
    options = {"RFC7946": "YES"} if driver == "GeoJSON" and crs else {}
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    part.unlink(missing_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyogrio warns about a missing coordinate system
            pyogrio.raw.write(
                part,
                polygons,
                [names, scores, np.full(len(labels), model, object)],
                ["class", "score", "model"],
                layer=LAYER,
                driver=driver,
                geometry_type="Polygon",
                crs=crs,
                **options,
            )
        check_new(out)
        part.rename(out)
    except (CRSError, DataLayerError, DataSourceError, FeatureError, GeometryError) as error:
        raise RetinanetError(f"{out}: GDAL cannot write it ({error}); choose the other format or folder") from error
    finally:
        part.unlink(missing_ok=True)
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return dict(zip(class_names, counts, strict=True))


def _polygons(boxes: np.ndarray, transform: Transform) -> np.ndarray:
    """(D,) well-known binary of the boxes (D, 4) xyxy in pixels, counterclockwise in a raster with north up."""
    a, b, c, d, e, f = transform[:6]
    columns, rows = boxes[:, [0, 0, 2, 2, 0]], boxes[:, [1, 3, 3, 1, 1]]
    polygons = np.zeros(len(boxes), WKB)
    polygons["little_endian"], polygons["type"], polygons["rings"], polygons["points"] = 1, POLYGON, 1, 5
    polygons["xy"] = np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=2)
    content = np.empty(len(boxes), object)
    content[:] = [polygon.tobytes() for polygon in polygons]
    return content

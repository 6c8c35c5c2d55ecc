import json
import sqlite3

import numpy as np
import pyogrio.raw
import pytest
from rasterio.warp import transform as to_system

from retinanet.errors import RetinanetError
from retinanet.rasters.features import check_new, write_features
from retinanet.rasters.merging import Placed

UTM = (0.5, 0.0, 500_000.0, 0.0, -0.5, 4_000_000.0)  # half a meter per pixel, north up
PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def placed(*rows: tuple) -> Placed:
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, float).reshape(-1, 6)
    nothing = np.zeros(len(table))
    return Placed(table[:, :4], table[:, 4], table[:, 5].astype(int), nothing, nothing, nothing.astype(bool))


ROWS = [placed((10, 20, 30, 60, 0.75, 0)), placed(), placed((0, 0, 2, 2, 0.3, 1), (4, 4, 8, 8, 0.123456, 0))]


def write(out, crs="EPSG:32612", transform=UTM, rows=ROWS, thresholds=0.1) -> dict[str, int]:
    return write_features(out, rows, thresholds, ("oak", "fir"), "models:/trees/3", crs, transform)


def test_geopackage_has_polygons_in_the_coordinate_system_of_the_raster(tmp_path):
    out = tmp_path / "trees.gpkg"
    assert write(out) == {"oak": 2, "fir": 1}
    meta, _, geometry, (names, scores, models) = pyogrio.raw.read(out)
    assert meta["crs"] == "EPSG:32612" and meta["geometry_type"] == "Polygon"
    assert meta["fields"].tolist() == ["class", "score", "model"]
    assert names.tolist() == ["oak", "fir", "oak"] and scores.tolist() == [0.75, 0.3, 0.1235]
    assert set(models) == {"models:/trees/3"}
    corners = np.frombuffer(geometry[0][-80:], "<f8").reshape(5, 2)
    assert corners.tolist() == [
        [500_005, 3_999_990],
        [500_005, 3_999_970],
        [500_015, 3_999_970],
        [500_015, 3_999_990],
        [500_005, 3_999_990],
    ]


def test_geopackage_has_a_spatial_index(tmp_path):
    write(tmp_path / "trees.gpkg")
    with sqlite3.connect(tmp_path / "trees.gpkg") as database:
        extensions = database.execute("select extension_name from gpkg_extensions").fetchall()
    database.close()
    assert ("gpkg_rtree_index",) in extensions


def test_geojson_is_in_wgs_84_longitude_first(tmp_path):
    write(tmp_path / "trees.geojson")
    content = json.loads((tmp_path / "trees.geojson").read_text())
    assert "crs" not in content
    first = content["features"][0]
    assert first["properties"] == {"class": "oak", "score": 0.75, "model": "models:/trees/3"}
    [[longitude], [latitude]] = to_system("EPSG:32612", "EPSG:4326", [500_005], [3_999_990])
    assert [longitude, latitude] == pytest.approx(first["geometry"]["coordinates"][0][0], abs=1e-6)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_without_a_coordinate_system_coordinates_are_pixels(tmp_path, suffix):
    out = tmp_path / f"trees{suffix}"
    write(out, crs=None, transform=PIXELS)
    bounds = pyogrio.read_bounds(out)[1]
    assert bounds.T.tolist() == [[10, 20, 30, 60], [0, 0, 2, 2], [4, 4, 8, 8]]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_nothing_found_is_an_empty_layer(tmp_path, suffix):
    out = tmp_path / f"trees{suffix}"
    assert write(out, rows=[placed()]) == {"oak": 0, "fir": 0}
    assert pyogrio.read_info(out)["features"] == 0


def test_each_class_has_its_threshold(tmp_path):
    assert write(tmp_path / "trees.gpkg", thresholds=(0.75, 0.31)) == {"oak": 1, "fir": 0}


def test_a_rotated_raster_gives_rotated_polygons(tmp_path):
    """Columns go south, rows go east."""
    write(tmp_path / "trees.gpkg", transform=(0.0, 1.0, 100.0, -1.0, 0.0, 200.0))
    assert pyogrio.read_bounds(tmp_path / "trees.gpkg")[1].T[0].tolist() == [120, 170, 160, 190]


def test_only_new_files_of_known_formats_are_written(tmp_path):
    (tmp_path / "there.gpkg").write_text("mine")
    for name, message in (
        ("there.gpkg", "exists already, and no file is replaced"),
        ("trees.shp", r"must end in \.gpkg or \.geojson"),
        ("missing/trees.gpkg", "missing: no such folder"),
    ):
        with pytest.raises(RetinanetError, match=message):
            check_new(tmp_path / name)
    with pytest.raises(RetinanetError, match="exists already"):
        write(tmp_path / "there.gpkg")
    assert (tmp_path / "there.gpkg").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.gpkg"]


def test_a_system_without_a_place_on_earth_cannot_become_geojson(tmp_path):
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    with pytest.raises(RetinanetError, match=r"GDAL cannot write it .* choose the other format"):
        write(tmp_path / "trees.geojson", crs=local)
    assert list(tmp_path.iterdir()) == []

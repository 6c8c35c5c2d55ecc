import numpy as np
import pytest
import rasterio
from PIL import Image
from support.blobs import UTM, write_raster

from retinanet.errors import ImageError, RetinanetError
from retinanet.rasters.grid import Grid
from retinanet.rasters.reading import open_raster, strips

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (150, 170, 3), dtype=np.uint8)
# Tiles of 40 px that begin at 0, 20, 50, 80, 110, and for columns at 130.
GRID = Grid(width=170, height=150, cell=10, tile=40, step=30, origin=(20, 20))
PADDING = (7, 8, 9)


def assembled(raster, grid: Grid, first_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of the strips from first_row on, where they lie in the raster, and which have data."""
    left, top = -int(grid.lefts[0]), -int(grid.tops[0])
    pixels = np.zeros((grid.height + 100, int(grid.lefts[-1]) + grid.tile + left, 3), np.uint8)
    has_data = np.zeros(pixels.shape[:2], bool)
    tops = grid.tops[first_row:].tolist()
    for begin, strip in zip(tops, strips(raster, grid, PADDING, first_row), strict=True):
        rows = slice(begin + top, begin + top + grid.tile)
        pixels[rows], has_data[rows] = strip.pixels, strip.has_data
    inside = slice(max(0, tops[0]) + top, grid.height + top), slice(left, left + grid.width)
    return pixels[inside], has_data[inside]


@pytest.mark.parametrize("profile", [{}, {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"}])
def test_strips_hold_the_pixels_of_striped_and_tiled_files(tmp_path, profile):
    with open_raster(write_raster(tmp_path / "a.tif", PIXELS, **profile)) as raster:
        assert raster.crs == "EPSG:32612" and raster.transform == tuple(UTM)[:6]
        for first_row in (0, 2):
            pixels, has_data = assembled(raster, GRID, first_row)
            np.testing.assert_array_equal(pixels, PIXELS[150 - len(pixels) :])
            assert len(pixels) == (150, 0, 100)[first_row] and has_data.all()


def test_what_lies_beyond_the_border_has_the_padding_color(tmp_path):
    grid = Grid(width=170, height=150, cell=10, tile=40, step=30, origin=(5, 5))
    with open_raster(write_raster(tmp_path / "a.tif", PIXELS)) as raster:
        first = next(strips(raster, grid, PADDING))
    assert (grid.lefts[0], grid.tops[0]) == (-5, -5)
    assert (first.pixels[:5] == PADDING).all() and (first.pixels[:, :5] == PADDING).all()
    assert not first.has_data[:5].any() and not first.has_data[:, :5].any()
    np.testing.assert_array_equal(first.pixels[5:, 5:175], PIXELS[:35])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_plain_images_have_no_coordinate_system(tmp_path, name):
    # Gray, because two JPEG decoders enlarge the channels of color in two ways.
    Image.fromarray(PIXELS[:, :, [0, 0, 0]]).save(tmp_path / name)
    with open_raster(tmp_path / name) as raster:
        assert raster.crs is None and raster.transform == (1, 0, 0, 0, 1, 0)
        expected = np.asarray(Image.open(tmp_path / name)).astype(int)
        assert np.abs(assembled(raster, GRID)[0].astype(int) - expected).max() <= 3


def test_bands_are_chosen_and_gray_is_repeated(tmp_path):
    path = write_raster(
        tmp_path / "a.tif", np.concatenate([PIXELS, PIXELS[:, :, :1] // 2], axis=2), photometric="MINISBLACK"
    )
    with open_raster(path) as raster:
        assert raster.bands == (1, 2, 3)
    with open_raster(path, (4, 2, 1)) as raster:
        expected = np.stack([PIXELS[:, :, 0] // 2, PIXELS[:, :, 1], PIXELS[:, :, 0]], axis=2)
        np.testing.assert_array_equal(assembled(raster, GRID)[0], expected)
    with open_raster(write_raster(tmp_path / "gray.tif", PIXELS[:, :, :1])) as raster:
        np.testing.assert_array_equal(assembled(raster, GRID)[0], PIXELS[:, :, [0, 0, 0]])


def test_sixteen_bit_values_are_scaled_by_the_limits(tmp_path):
    values = np.array([0, 100, 150, 300, 60_000], np.uint16)
    path = write_raster(tmp_path / "a.tif", np.tile(values[:, None], (30, 170))[:, :, None])
    with open_raster(path, limits=(100, 300)) as raster:
        assert assembled(raster, GRID)[0][:5, 0, 0].tolist() == [0, 0, 64, 255, 255]


def test_sixteen_bit_values_without_limits_are_an_error_that_proposes_some(tmp_path):
    values = np.tile(np.arange(1000, 2001, dtype=np.uint16), (10, 1))[:, :, None]
    path = write_raster(tmp_path / "a.tif", values)
    with pytest.raises(ImageError, match=r"has uint16 bands; .* e\.g\. --range 1020,1980"), open_raster(path):
        pass


def test_pixels_of_nodata_alpha_and_nan_hold_no_data(tmp_path):
    pixels = PIXELS.copy()
    pixels[:50, :60] = 0
    alpha = np.full((150, 170, 1), 255, np.uint8)
    alpha[:50, :60] = 0
    floats = PIXELS.astype(np.float32)
    floats[:50, :60] = np.nan
    paths = [
        write_raster(tmp_path / "nodata.tif", pixels, nodata=0),
        write_raster(tmp_path / "alpha.tif", np.concatenate([PIXELS, alpha], axis=2), photometric="RGB", alpha="YES"),
        write_raster(tmp_path / "nan.tif", floats),
    ]
    for path in paths:
        with open_raster(path, limits=(0, 255) if path.stem == "nan" else None) as raster:
            found, has_data = assembled(raster, GRID)
        assert not has_data[:50, :60].any() and has_data[50:, 60:].all()
        assert (found[:50, :60] == PADDING).all()
        np.testing.assert_array_equal(found[50:, 60:], PIXELS[50:, 60:])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"Dear diary", "GDAL cannot open it as a raster"), (b"", "GDAL cannot open it")],
)
def test_other_files_are_one_line(tmp_path, content, message):
    path = tmp_path / "a.tif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=message), open_raster(path):
        pass


def test_a_truncated_file_names_the_row(tmp_path):
    path = write_raster(tmp_path / "a.tif", PIXELS, compress="deflate", blockysize=10)
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(ImageError, match=r"a\.tif: .*(near row \d+|GDAL cannot open)"), open_raster(path) as raster:
        assembled(raster, GRID)


def test_unusable_bands_are_errors(tmp_path):
    path = write_raster(tmp_path / "a.tif", PIXELS)
    with pytest.raises(ImageError, match="has 3 bands and no band 5"), open_raster(path, (5, 2, 1)):
        pass
    Image.fromarray(PIXELS).quantize(16).save(tmp_path / "palette.png")
    with pytest.raises(ImageError, match="has palette colors"), open_raster(tmp_path / "palette.png"):
        pass
    complex_numbers = write_raster(tmp_path / "b.tif", PIXELS[:, :, :1].astype(np.complex64))
    with pytest.raises(ImageError, match="has complex numbers"), open_raster(complex_numbers, limits=(0, 1)):
        pass


def test_too_little_memory_says_how_much_it_takes(tmp_path):
    path = write_raster(tmp_path / "a.tif", PIXELS)
    with open_raster(path, memory=50_000) as raster, pytest.raises(RetinanetError, match=r"takes 0 MB.* --memory 1"):
        next(strips(raster, GRID, PADDING))


def test_key_changes_with_the_file_and_the_bands(tmp_path):
    path = write_raster(tmp_path / "a.tif", PIXELS)
    keys = []
    for bands in ((), (1, 2, 3), (3, 2, 1)):
        with open_raster(path, bands) as raster:
            keys.append(raster.key())
    write_raster(path, PIXELS[::-1])
    with open_raster(path) as raster:
        keys.append(raster.key())
    assert keys[0] == keys[1] and keys[0] not in keys[2:]
    with rasterio.open(path, "r+") as dataset:
        dataset.crs = "EPSG:32613"
    with open_raster(path) as raster:
        assert raster.key()["crs"] == "EPSG:32613"

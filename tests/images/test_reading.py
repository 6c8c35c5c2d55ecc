import io
import shutil

import numpy as np
import pytest
from PIL import Image

from retinanet.errors import PictureError
from retinanet.images.reading import inspect_picture, read_picture, upright_size

RED, GREEN = (255, 0, 0), (0, 255, 0)


def save(path, mode="RGB", colour=RED, size=(6, 4), **options):
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected", "trait"),
    [
        ("CMYK", (0, 255, 255, 0), ".tif", RED, "CMYK"),
        ("L", 77, ".png", (77, 77, 77), "grey"),
        ("1", 1, ".png", (255, 255, 255), "1-bit"),
        ("RGBA", (255, 0, 0, 128), ".png", RED, "alpha"),
        ("LA", (77, 10), ".png", (77, 77, 77), "alpha"),
        ("I;16", 257 * 100, ".png", (100, 100, 100), "16-bit"),
        ("I;16", 65535, ".tif", (255, 255, 255), "16-bit"),
        ("I", 257 * 3, ".tif", (3, 3, 3), "16-bit"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, colour, suffix, expected, trait):
    path = save(tmp_path / f"a{suffix}", mode, colour)
    picture = read_picture(path)
    assert (picture.shape, picture.dtype) == ((4, 6, 3), np.uint8)
    assert picture[0, 0].tolist() == list(expected)
    assert inspect_picture(path).traits == (trait,)


def test_palette_pictures_have_their_colours(tmp_path):
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([0, 0, 0, *RED])
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.png", transparency=1)
    assert read_picture(tmp_path / "a.png")[0, 0].tolist() == list(RED)
    assert read_picture(tmp_path / "b.png")[0, 0].tolist() == list(RED)
    assert inspect_picture(tmp_path / "b.png").traits == ("palette",)


def test_a_jpeg_in_cmyk_is_read(tmp_path):
    path = save(tmp_path / "a.jpg", "CMYK", (0, 255, 255, 0), (16, 16), quality=95)
    assert np.abs(read_picture(path)[8, 8].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_of_an_animation_the_first_picture_counts(tmp_path, suffix):
    first, second = Image.new("RGB", (6, 4), RED), Image.new("RGB", (6, 4), GREEN)
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=[second], duration=100)
    assert read_picture(tmp_path / f"a{suffix}")[0, 0].tolist() == list(RED)
    assert "animated" in inspect_picture(tmp_path / f"a{suffix}").traits


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_turns_the_picture(tmp_path, orientation, corner):
    """The red pixel is top left in the file; 6 turns the picture clockwise, 8 counter-clockwise."""
    picture = Image.new("RGB", (6, 4), GREEN)
    picture.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    read = read_picture(tmp_path / "a.png")
    assert read.shape == ((6, 4, 3) if orientation in (6, 8) else (4, 6, 3))
    assert read[corner].tolist() == list(RED)
    assert inspect_picture(tmp_path / "a.png").traits == (() if orientation == 1 else ("EXIF-rotated",))
    assert upright_size(tmp_path / "a.png") == read.shape[1::-1]


def test_a_wrong_extension_is_read_and_said(tmp_path):
    save(tmp_path / "a.png", size=(16, 16)).rename(tmp_path / "a.jpg")
    assert inspect_picture(tmp_path / "a.jpg").traits == ("wrong extension",)


def test_pictures_come_from_memory_too():
    file = io.BytesIO()
    save(file, format="PNG")
    assert read_picture(file).shape == (4, 6, 3)
    with pytest.raises(PictureError, match="the picture: no picture"):
        read_picture(io.BytesIO(b"no"))


def test_facts_of_a_plain_picture(tmp_path):
    facts = inspect_picture(save(tmp_path / "a.png", colour=(77, 77, 77)))
    assert (facts.width, facts.height, facts.traits) == (6, 4, ())
    assert set(facts.thumbnail) == {77} and len(facts.thumbnail) == 18 * 16


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 bytes"),
        (b"<!DOCTYPE html><html>404</html>", "is an HTML page"),
        (b"\n <html>", "is an HTML page"),
        (b"plain text", "no picture"),
        (b"\x89PNG\r\n\x1a\n", "a.png"),
    ],
)
def test_what_is_no_picture_is_said(tmp_path, content, said):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(PictureError, match=said):
        read_picture(tmp_path / "a.png")
    assert upright_size(tmp_path / "a.png") is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".bmp", ".webp"])
def test_a_truncated_picture_is_an_error(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=rf"a\{suffix}"):
        read_picture(path)


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(PictureError, match="there is no such file"):
        read_picture(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(PictureError, match=r"b\.png"):
        read_picture(tmp_path / "b.png")


def test_the_pixel_limit_holds_before_decoding(tmp_path):
    path = save(tmp_path / "a.png", size=(20, 10))
    assert read_picture(path, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(PictureError, match="20 x 10 is more than 199 pixels"):
        read_picture(path, max_pixels=199)


def test_floating_point_samples_are_refused(tmp_path):
    with pytest.raises(PictureError, match="floating-point"):
        read_picture(save(tmp_path / "a.tif", "F", 0.5))


def test_names_may_have_any_characters(tmp_path):
    path = save(tmp_path / "ä b\nc.png")
    shutil.copy(path, tmp_path / "d.png")
    assert inspect_picture(path).sha256 == inspect_picture(tmp_path / "d.png").sha256


@pytest.mark.parametrize(("scale", "side"), [(1.0, 160), (0.6, 160), (0.5, 80), (0.3, 80), (0.25, 40), (0.01, 20)])
def test_a_jpeg_is_decoded_no_larger_than_needed(tmp_path, scale, side):
    Image.new("RGB", (160, 160), (200, 30, 30)).save(tmp_path / "a.jpg")
    picture = read_picture(tmp_path / "a.jpg", scale=scale)
    assert picture.shape == (side, side, 3)
    assert np.abs(picture.astype(int) - (200, 30, 30)).max() < 6


def test_other_formats_come_whole(tmp_path):
    Image.new("RGB", (160, 160)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", scale=0.1).shape == (160, 160, 3)

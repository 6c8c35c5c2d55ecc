import io
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from retinanet.errors import ImageError
from retinanet.images.reading import Reading, inspect_image, read_image, stored_size, upright_size

RED, GREEN = (255, 0, 0), (0, 255, 0)


def save(path, mode="RGB", color=RED, size=(6, 4), **options):
    Image.new(mode, size, color).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "color", "suffix", "expected", "trait"),
    [
        ("CMYK", (0, 255, 255, 0), ".tif", RED, "CMYK"),
        ("L", 77, ".png", (77, 77, 77), "gray"),
        ("1", 1, ".png", (255, 255, 255), "1-bit"),
        ("RGBA", (255, 0, 0, 128), ".png", RED, "alpha"),
        ("LA", (77, 10), ".png", (77, 77, 77), "alpha"),
        ("I;16", 257 * 100, ".png", (100, 100, 100), "16-bit"),
        ("I;16", 65535, ".tif", (255, 255, 255), "16-bit"),
        ("I", 257 * 3, ".tif", (3, 3, 3), "16-bit"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, color, suffix, expected, trait):
    path = save(tmp_path / f"a{suffix}", mode, color)
    image = read_image(path)
    assert (image.shape, image.dtype) == ((4, 6, 3), np.uint8)
    assert image[0, 0].tolist() == list(expected)
    assert inspect_image(path).traits == (trait,)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (2048, 128), (4095, 255), (40_000, 255)])
def test_white_level_is_white_in_16_bit_images(tmp_path, value, expected):
    path = save(tmp_path / "a.png", "I;16", value)
    assert read_image(path, Reading(white_level=4095))[0, 0].tolist() == [expected] * 3


def test_white_level_leaves_other_images_as_they_are(tmp_path):
    path = save(tmp_path / "a.png", "L", 77)
    assert read_image(path, Reading(white_level=4095))[0, 0].tolist() == [77] * 3


def test_palette_image_becomes_rgb(tmp_path):
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, *RED])
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", transparency=1)
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == list(RED)
    assert read_image(tmp_path / "b.png")[0, 0].tolist() == list(RED)
    assert inspect_image(tmp_path / "b.png").traits == ("palette",)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    path = save(tmp_path / "a.jpg", "CMYK", (0, 255, 255, 0), (16, 16), quality=95)
    assert np.abs(read_image(path)[8, 8].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_animation_gives_its_first_frame(tmp_path, suffix):
    first, second = Image.new("RGB", (6, 4), RED), Image.new("RGB", (6, 4), GREEN)
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=[second], duration=100)
    assert read_image(tmp_path / f"a{suffix}")[0, 0].tolist() == list(RED)
    assert "animated" in inspect_image(tmp_path / f"a{suffix}").traits


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    """The red pixel is top left in the file; 6 turns the image clockwise, 8 counter-clockwise."""
    image = Image.new("RGB", (6, 4), GREEN)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    read = read_image(tmp_path / "a.png")
    assert read.shape == ((6, 4, 3) if orientation in (6, 8) else (4, 6, 3))
    assert read[corner].tolist() == list(RED)
    assert inspect_image(tmp_path / "a.png").traits == (() if orientation == 1 else ("EXIF-rotated",))
    assert upright_size(tmp_path / "a.png") == read.shape[1::-1]


def test_wrong_extension_is_read_and_listed_in_traits(tmp_path):
    save(tmp_path / "a.png", size=(16, 16)).rename(tmp_path / "a.jpg")
    assert inspect_image(tmp_path / "a.jpg").traits == ("wrong extension",)


def test_read_image_accepts_a_binary_stream():
    file = io.BytesIO()
    save(file, format="PNG")
    assert read_image(file).shape == (4, 6, 3)
    with pytest.raises(ImageError, match="the image: is not an image"):
        read_image(io.BytesIO(b"no"))


def test_inspect_image_of_a_plain_image(tmp_path):
    facts = inspect_image(save(tmp_path / "a.png", color=(77, 77, 77)))
    assert (facts.width, facts.height, facts.traits) == (6, 4, ())
    assert set(facts.thumbnail) == {77} and len(facts.thumbnail) == 18 * 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes"),
        (b"<!DOCTYPE html><html>404</html>", "is an HTML page"),
        (b"\n <html>", "is an HTML page"),
        (b"plain text", "is not an image"),
        (b"\x89PNG\r\n\x1a\n", "a.png"),
    ],
)
def test_content_that_is_not_an_image_is_described(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.png")
    assert upright_size(tmp_path / "a.png") is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".bmp", ".webp"])
def test_truncated_image_fails(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"a\{suffix}"):
        read_image(path)


def test_missing_file_and_folder_fail(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ImageError, match=r"b\.png"):
        read_image(tmp_path / "b.png")


def test_image_above_max_pixels_fails(tmp_path):
    path = save(tmp_path / "a.png", size=(20, 10))
    assert read_image(path, Reading(max_pixels=200)).shape == (10, 20, 3)
    with pytest.raises(ImageError, match="20 x 10 is more than 199 pixels"):
        read_image(path, Reading(max_pixels=199))


def test_reading_does_not_change_pillows_pixel_limit(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", size=(20, 10))
    code = "from PIL import Image; before = Image.MAX_IMAGE_PIXELS; import retinanet.images.reading; "
    code += "assert before and Image.MAX_IMAGE_PIXELS == before"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    # Pillow would warn above 150 pixels and refuse above twice as many; max_pixels decides for read_image.
    for limit in (150, 50):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(path, Reading(max_pixels=200)).shape == (10, 20, 3)
        assert upright_size(path) == (20, 10)
        with pytest.raises(ImageError, match="20 x 10 is more than 199 pixels"):
            read_image(path, Reading(max_pixels=199))
        assert limit == Image.MAX_IMAGE_PIXELS


def test_floating_point_samples_fail(tmp_path):
    with pytest.raises(ImageError, match="floating-point"):
        read_image(save(tmp_path / "a.tif", "F", 0.5))


def test_file_name_may_have_any_characters(tmp_path):
    path = save(tmp_path / "ä b\nc.png")
    shutil.copy(path, tmp_path / "d.png")
    assert inspect_image(path).sha256 == inspect_image(tmp_path / "d.png").sha256


@pytest.mark.parametrize(("scale", "side"), [(1.0, 160), (0.6, 160), (0.5, 80), (0.3, 80), (0.25, 40), (0.01, 20)])
def test_jpeg_is_decoded_at_the_smallest_sufficient_size(tmp_path, scale, side):
    Image.new("RGB", (160, 160), (200, 30, 30)).save(tmp_path / "a.jpg")
    image = read_image(tmp_path / "a.jpg", scale=scale)
    assert image.shape == (side, side, 3)
    assert np.abs(image.astype(int) - (200, 30, 30)).max() < 6


def test_scale_does_not_change_other_formats(tmp_path):
    Image.new("RGB", (160, 160)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", scale=0.1).shape == (160, 160, 3)


def test_avif_is_read(tmp_path):
    path = save(tmp_path / "a.avif", size=(16, 16), quality=100)
    assert np.abs(read_image(path)[8, 8].astype(int) - RED).max() <= 6


def test_heic_without_its_reader_is_named(tmp_path):
    """A file with a real header and no image."""
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    with pytest.raises(ImageError, match=r"a\.heic: is HEIC; convert it to JPEG, or install pillow-heif"):
        read_image(tmp_path / "a.heic")
    with pytest.raises(ImageError, match=r"the image: is HEIC; convert it to JPEG$"):
        read_image(io.BytesIO((tmp_path / "a.heic").read_bytes()))


def test_brightest_is_the_highest_value_of_a_16_bit_image(tmp_path):
    assert inspect_image(save(tmp_path / "a.png", "I;16", 4095)).brightest == 4095
    assert inspect_image(save(tmp_path / "b.png")).brightest is None


def test_a_folder_a_broken_link_and_a_pipe_are_errors_of_their_own(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, error in {
        "x.jpg": "is a folder, not an image",
        "gone.jpg": r"is a link to nowhere\.jpg, which does not exist",
        "pipe.jpg": "is not a regular file",
    }.items():
        with pytest.raises(ImageError, match=error):
            read_image(tmp_path / name)


def test_a_file_that_may_not_be_read_is_an_error_about_permissions(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match=r"a\.jpg: may not be read; check its permissions"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_stored_size_is_that_of_the_header(format):
    file = io.BytesIO()
    Image.new("RGB", (6, 4)).save(file, format)
    assert stored_size(io.BytesIO(file.getvalue())) == (6, 4)
    assert stored_size(io.BytesIO(b"no image")) is None

import io

import pytest
from PIL import Image
from support.pet_models import base64_of, encoded

from retinanet.errors import ImageError
from retinanet.images.reading import STANDARD_READING
from retinanet.images.tiles import UNCUT, Tiling
from retinanet.serving.payload import check_image, decode_base64, decode_image


def test_base64_with_line_breaks_is_decoded():
    assert decode_base64("YWJj\r\nZGVm\n", 10) == b"abcdef"


@pytest.mark.parametrize("text", ["", " ", "####", "YWJ", None, 3, ["YWJj"], "/etc/passwd", "é"])
def test_other_values_are_refused(text):
    with pytest.raises(ImageError):
        decode_base64(text, 10)


def test_base64_of_too_many_bytes_is_refused_before_it_is_decoded():
    assert decode_base64(base64_of(bytes(9)), 9) == bytes(9)
    with pytest.raises(ImageError, match="more than 9 bytes"):
        decode_base64(base64_of(bytes(12)), 9)


def test_pixels_and_tiles_of_an_image_are_limited():
    content = encoded(40, 20)
    assert check_image(content, UNCUT, 800, 1) == 800
    with pytest.raises(ImageError, match="has 40 x 20 pixels; at most 799"):
        check_image(content, UNCUT, 799, 1)
    assert check_image(content, Tiling(10, 0.0), 800, 8) == 800
    with pytest.raises(ImageError, match="cut into 8 tiles; at most 7"):
        check_image(content, Tiling(10, 0.0), 800, 7)
    assert check_image(content, Tiling(10, 0.0), 800, None) == 800


def test_nothing_is_decoded_by_the_check(monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="has 3000 x 2000 pixels"):
        check_image(encoded(3000, 2000), UNCUT, 1000, 1)


def test_image_of_one_row_is_counted_in_tiles():
    with pytest.raises(ImageError, match="cut into 1000 tiles"):
        check_image(encoded(10_000, 1), Tiling(10, 0.0), 1_000_000, 100)


def test_jpeg_of_many_scans_is_refused():
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    assert check_image(content, UNCUT, 1000, 1) == 256
    with pytest.raises(ImageError, match="more than 100 scans"):
        check_image(content + b"\xff\xda" * 100, UNCUT, 1000, 1)


def test_damaged_header_is_left_to_decoding():
    assert check_image(b"no image", UNCUT, 1000, 1) == 0
    with pytest.raises(ImageError, match="expected JPEG"):
        decode_image(b"no image", STANDARD_READING)

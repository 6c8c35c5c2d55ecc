import numpy as np
import pytest

from retinanet.images.preprocess import fit_scale, pad_batch, padding_color, resize_to, scaled_size


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(480, 640, 800 / 480), (480, 1600, 1333 / 1600), (800, 800, 1.0), (1600, 1600, 0.5)],
)
def test_fit_scale_reaches_short_side_or_is_limited_by_long_side(height, width, scale):
    assert fit_scale(height, width, 800, 1333) == scale


def test_scaled_size_keeps_at_least_one_pixel():
    assert scaled_size(3, 2000, 0.1) == (1, 200)


def test_resize_to_uses_every_pixel_when_shrinking():
    """White lines, one in eight: their share of the light stays whichever pixels they stand on."""
    for first in range(8):
        image = np.zeros((64, 64, 3), np.uint8)
        image[first::8] = 255
        assert resize_to(image, (8, 16)).mean() == pytest.approx(255 / 8, abs=0.6)


def test_batch_is_padded_to_multiples_of_32_at_the_right_and_bottom():
    batch = pad_batch([np.full((140, 20, 3), 9, np.uint8), np.full((10, 150, 3), 7, np.uint8)], (1, 2, 3))
    assert batch.shape == (2, 160, 160, 3)
    assert batch[0, 139, 19].tolist() == [9, 9, 9] and batch[0, 140, 0].tolist() == [1, 2, 3]
    assert batch[1, 9, 149].tolist() == [7, 7, 7] and batch[1, 9, 150].tolist() == [1, 2, 3]


def test_thin_image_is_padded_to_the_minimum_side():
    assert pad_batch([np.zeros((20, 200, 3), np.uint8)], (1, 2, 3)).shape == (1, 96, 224, 3)


def test_padding_color_is_the_mean():
    assert padding_color((0.5, 0.485, 0.0)) == (128, 124, 0)

from math import inf, isnan, nan, pi

import pytest

from retinanet.annotations.shapes import ellipse_hull, hull, is_points, rotated_hull


def test_hull_is_the_box_around_points():
    assert hull([[1, 8], [9, 4], [5, 2]]) == (1, 2, 9, 8)


@pytest.mark.parametrize("value", [nan, inf])
def test_what_is_not_finite_has_no_box(value):
    for box in (hull([[1, 2], [value, 4]]), rotated_hull(1, 2, 3, 4, value), ellipse_hull(1, 2, 3, 4, value)):
        assert all(map(isnan, box))


@pytest.mark.parametrize(
    ("angle", "xyxy"),
    [(0, (0, 15, 20, 25)), (pi / 2, (5, 10, 15, 30)), (pi / 6, (10 - 11.16, 20 - 9.33, 21.16, 29.33))],
)
def test_rotated_box(angle, xyxy):
    """20 x 10 around (10, 20); at 30 degrees half the width is (20 cos + 10 sin) / 2 = 11.16."""
    assert rotated_hull(10, 20, 20, 10, angle) == pytest.approx(xyxy, abs=0.01)


@pytest.mark.parametrize(
    ("angle", "xyxy"), [(0, (0, 15, 20, 25)), (pi / 2, (5, 10, 15, 30)), (pi / 6, (10 - 9.01, 20 - 6.61, 19.01, 26.61))]
)
def test_rotated_ellipse(angle, xyxy):
    """Radii 10 and 5 around (10, 20); at 30 degrees half the width is sqrt((10 cos)^2 + (5 sin)^2) = 9.01."""
    assert ellipse_hull(10, 20, 10, 5, angle) == pytest.approx(xyxy, abs=0.01)


@pytest.mark.parametrize("value", [[[1, 2]], [[1.5, 2], [3, 4]]])
def test_points_are_lists_of_two_numbers(value):
    assert is_points(value)


@pytest.mark.parametrize("value", [None, [], [1, 2], [[1]], [[1, 2, 3]], [[1, "2"]], [[True, 2]], {"0": [1, 2]}])
def test_other_values_are_no_points(value):
    assert not is_points(value)

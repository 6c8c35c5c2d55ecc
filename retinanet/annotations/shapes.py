"""Boxes around the shapes that annotations have, in pixels."""

from collections.abc import Sequence
from math import cos, hypot, isfinite, nan, sin
from typing import TypeGuard

from retinanet.annotations.records import Xyxy
from retinanet.dataset.coco_file import is_number

# Skipped by the check of boxes.
NAN_BOX = (nan, nan, nan, nan)


def is_points(points: object) -> TypeGuard[list[list[float]]]:
    """Whether a JSON value is a list of one or more points [x, y]."""
    return (
        isinstance(points, list)
        and bool(points)
        and all(isinstance(point, list) and len(point) == 2 and all(map(is_number, point)) for point in points)
    )


def hull(points: Sequence[Sequence[float]]) -> Xyxy:
    """The box around points (x, y); NaN if a coordinate is not finite."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if not all(map(isfinite, xs + ys)):
        return NAN_BOX
    return min(xs), min(ys), max(xs), max(ys)


def rotated_hull(x: float, y: float, width: float, height: float, angle: float) -> Xyxy:
    """The box around a box with center (x, y), rotated by an angle in radians; NaN if that is not finite."""
    if not isfinite(angle):
        return NAN_BOX
    half_width = (abs(width * cos(angle)) + abs(height * sin(angle))) / 2
    half_height = (abs(width * sin(angle)) + abs(height * cos(angle))) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def ellipse_hull(x: float, y: float, radius_x: float, radius_y: float, angle: float) -> Xyxy:
    """The box around an ellipse with center (x, y), rotated by an angle in radians; NaN if that is not finite."""
    if not isfinite(angle):
        return NAN_BOX
    half_width = hypot(radius_x * cos(angle), radius_y * sin(angle))
    half_height = hypot(radius_x * sin(angle), radius_y * cos(angle))
    return x - half_width, y - half_height, x + half_width, y + half_height

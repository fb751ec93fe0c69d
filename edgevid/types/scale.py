"""The one check of the aspect ratio: whether frames of two sizes can show the same view."""

from __future__ import annotations

SAME_ASPECT = 0.01
"""Aspect ratios that differ by less than this share are equal: encoders round sizes up to whole blocks."""


def scale_between(size: tuple[int, int], other: tuple[int, int]) -> tuple[float, float] | None:
    """The factors (x, y) from pixels of frames of `size` to those of `other`, both (width, height).

    None where the aspect ratios differ: the frames show different views.

    >>> scale_between((1920, 1080), (1280, 720))
    (0.6666666666666666, 0.6666666666666666)
    >>> scale_between((640, 480), (640, 360)) is None
    True
    """
    x, y = other[0] / size[0], other[1] / size[1]
    return (x, y) if abs(x / y - 1) <= SAME_ASPECT else None

"""One frame written into a model's input by the CPU's kernels."""

from __future__ import annotations

from typing import Any

from edgevid import kernels
from edgevid.types import Array, Frame, InputSpec

Rectangle = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the model's input."""


def input_shape(spec: InputSpec) -> tuple[int, int, int]:
    """Shape of one image of the model's input, without the batch axis."""
    channels = 1 if spec.color == "GRAY" else 3
    if spec.layout == "NCHW":
        return channels, spec.height, spec.width
    return spec.height, spec.width, channels


def write_letterbox(
    frame: Frame, rectangle: Rectangle, spec: InputSpec, out: Array, *, write_pad: bool = True
) -> None:
    """Resizes, normalizes and lays out a frame into `rectangle` of `out`, one image of a model's input.

    The rest becomes `spec.pad`, unless `write_pad` is false: then it stays as it is.
    """
    options: dict[str, Any] = {
        "color": spec.color,
        "layout": spec.layout,
        "pad": spec.pad,
        "scale": [1.0 / s for s in spec.std],
        "bias": [-m / s for m, s in zip(spec.mean, spec.std, strict=True)],
        "write_pad": write_pad,
    }
    if frame.planes is None:
        kernels.letterbox(frame.image, out, rectangle, **options)
    else:
        kernels.letterbox_yuv420(*frame.planes, frame.full_range, frame.matrix, out, rectangle, **options)

"""The kernels in NumPy: slow, plain, and the specification that the C++ twins are tested against."""

from edgevid.kernels.reference.pixels import (  # noqa: F401
    crop_resize,
    crop_resize_yuv420,
    letterbox,
    letterbox_yuv420,
    yuv420_to_rgb,
)

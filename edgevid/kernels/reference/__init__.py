"""The kernels in NumPy: slow, plain, and the specification that the C++ twins are tested against."""

from edgevid.kernels.reference.boxes import (
    decode_columns,
    decode_dfl,
    decode_end_to_end,
    decode_fastestdet,
    decode_rows,
    decode_yolox,
    iou,
    is_occluded,
    nms,
)
from edgevid.kernels.reference.ground_filter import PlaneCore
from edgevid.kernels.reference.pixels import crop_resize, crop_resize_yuv420, letterbox, letterbox_yuv420, yuv420_to_rgb
from edgevid.kernels.reference.policy import PolicyCore
from edgevid.kernels.reference.speed_rows import speed_rows
from edgevid.kernels.reference.tracker import TrackerCore, max_weight_matching
from edgevid.kernels.reference.zones import ZonesCore

__all__ = [
    "PlaneCore", "PolicyCore", "TrackerCore", "ZonesCore", "crop_resize", "crop_resize_yuv420", "decode_columns",
    "decode_dfl", "decode_end_to_end", "decode_fastestdet", "decode_rows", "decode_yolox", "iou", "is_occluded",
    "letterbox", "letterbox_yuv420", "max_weight_matching", "nms", "speed_rows", "yuv420_to_rgb",
]  # fmt: skip

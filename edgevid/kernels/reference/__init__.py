"""The kernels in NumPy: slow, plain, and the specification that the C++ twins are tested against."""

from edgevid.kernels.reference.boxes import (
    decode_columns,
    decode_dfl,
    decode_end_to_end,
    decode_fastestdet,
    decode_rows,
    decode_yolox,
    iou,
    nms,
)

__all__ = [
    "decode_columns",
    "decode_dfl",
    "decode_end_to_end",
    "decode_fastestdet",
    "decode_rows",
    "decode_yolox",
    "iou",
    "nms",
]

"""The hot arithmetic, twice: C++ (`_native`) and NumPy (`reference`, the specification).

EDGEVID_KERNELS chooses: "auto" (native where it is built, else NumPy), "native" (an error where it
is not built) or "numpy". Both have the same functions with the same signatures and pass the same tests.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any

from edgevid.errors import InputError, NativeKernelsError
from edgevid.kernels import reference
from edgevid.kernels.plane_columns import MOVING, UNDECIDED, UNMEASURED, PlaneColumn
from edgevid.types import Array

BUILD_COMMAND = "pip install --force-reinstall --no-deps .   (in the source tree, with a C++17 compiler)"


def _load() -> Any:
    choice = os.environ.get("EDGEVID_KERNELS", "auto")
    if choice not in ("auto", "native", "numpy"):
        raise InputError(f"EDGEVID_KERNELS: expected auto, native or numpy, got {choice!r}")
    if choice == "numpy":
        return reference
    try:
        native = importlib.import_module("edgevid.kernels._native")
    except ImportError as error:
        if choice == "auto":
            return reference
        raise NativeKernelsError(
            f"EDGEVID_KERNELS=native, but the compiled kernels do not load ({error}). "
            f"Build them with: {BUILD_COMMAND}"
        ) from error
    missing = [name for name in reference.__all__ if not hasattr(native, name)]
    if not missing:
        return native
    stale = (
        f"The compiled kernels are older than this edgevid (they lack {', '.join(missing)}). "
        f"Build them with: {BUILD_COMMAND}"
    )
    if choice == "native":
        raise NativeKernelsError(stale)
    warnings.warn(f"{stale}. Using NumPy until then.", RuntimeWarning, stacklevel=3)
    return reference


_chosen = _load()
BACKEND: str = "numpy" if _chosen is reference else "native"
"""Which twin is in use: "native" or "numpy"."""

# Boxes (reference/boxes.py says what each one takes and gives).
Candidates = tuple[Array, Array, Array]
iou: Callable[[Array, Array], Array] = _chosen.iou
nms: Callable[..., Array] = _chosen.nms
decode_columns: Callable[..., Candidates] = _chosen.decode_columns
decode_rows: Callable[..., Candidates] = _chosen.decode_rows
decode_yolox: Callable[..., Candidates] = _chosen.decode_yolox
decode_dfl: Callable[..., Candidates] = _chosen.decode_dfl
decode_fastestdet: Callable[..., Candidates] = _chosen.decode_fastestdet
decode_end_to_end: Callable[..., Candidates] = _chosen.decode_end_to_end

# Pixels (reference/pixels.py).
letterbox: Callable[..., None] = _chosen.letterbox
letterbox_yuv420: Callable[..., None] = _chosen.letterbox_yuv420
yuv420_to_rgb: Callable[..., Array] = _chosen.yuv420_to_rgb
crop_resize: Callable[..., Array] = _chosen.crop_resize
crop_resize_yuv420: Callable[..., Array] = _chosen.crop_resize_yuv420

# Motion (reference/motion.py).
match_gains: Callable[[Array], list[tuple[int, int]]] = _chosen.match_gains
TrackerCore: Any = _chosen.TrackerCore

# The plane (reference/plane.py; the columns of its rows: plane_columns.py).
PlaneCore: Any = _chosen.PlaneCore

# The abstain policy (reference/policy.py).
PolicyCore: Any = _chosen.PolicyCore

__all__ = [
    "BACKEND", "MOVING", "UNDECIDED", "UNMEASURED", "PlaneColumn", "PlaneCore", "PolicyCore",
    "TrackerCore", "crop_resize", "crop_resize_yuv420", "decode_columns", "decode_dfl",
    "decode_end_to_end", "decode_fastestdet", "decode_rows", "decode_yolox", "iou", "letterbox",
    "letterbox_yuv420", "match_gains", "nms", "yuv420_to_rgb",
]  # fmt: skip

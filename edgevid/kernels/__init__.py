"""The hot arithmetic, twice: C++ (`_native`) and NumPy (`reference`, the specification).

EDGEVID_KERNELS chooses: "auto" (native where it is built, else NumPy), "native" (an error where it
is not built) or "numpy". Both have the same functions with the same signatures and pass the same tests.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from edgevid.errors import InputError, NativeKernelsError
from edgevid.kernels import reference
from edgevid.types import Array

BUILD_COMMAND = "pip install --force-reinstall --no-deps edgevid   (in a clone: make native)"


def _load() -> Any:
    choice = os.environ.get("EDGEVID_KERNELS", "auto")
    if choice not in ("auto", "native", "numpy"):
        raise InputError(f"EDGEVID_KERNELS: wanted auto, native or numpy, given {choice!r}")
    if choice == "numpy":
        return reference
    try:
        return importlib.import_module("edgevid.kernels._native")
    except ImportError as error:
        if choice == "auto":
            return reference
        raise NativeKernelsError(
            f"EDGEVID_KERNELS=native, but the compiled kernels do not load ({error}). "
            f"Build them with: {BUILD_COMMAND}"
        ) from error


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
_pixels: Any = _chosen if hasattr(_chosen, "letterbox") else reference
letterbox: Callable[..., None] = _pixels.letterbox
letterbox_yuv420: Callable[..., None] = _pixels.letterbox_yuv420
yuv420_to_rgb: Callable[..., Array] = _pixels.yuv420_to_rgb
crop_resize: Callable[..., Array] = _pixels.crop_resize
crop_resize_yuv420: Callable[..., Array] = _pixels.crop_resize_yuv420

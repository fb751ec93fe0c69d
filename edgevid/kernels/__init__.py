"""The hot arithmetic, twice: C++ (`_native`) and NumPy (`reference`, the specification). EDGEVID_KERNELS chooses:
"auto" (native where it is built, else NumPy), "native" (an error where it is not built) or "numpy". Both have the same
functions with the same signatures and pass the same tests."""

from __future__ import annotations

import importlib
import os
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from edgevid.errors import InputError, NativeKernelsError
from edgevid.kernels import reference
from edgevid.kernels.plane_columns import MOVING, UNDECIDED, UNMEASURED, PlaneColumn

BUILD_COMMAND = "pip install --force-reinstall --no-deps .   (in the source tree, with a C++17 compiler)"


def _load() -> ModuleType:
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
            f"EDGEVID_KERNELS=native, but the compiled kernels do not load ({error}). Build them with: {BUILD_COMMAND}"
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
BACKEND: Literal["numpy", "native"] = "numpy" if _chosen is reference else "native"  # Which twin is in use

if TYPE_CHECKING:  # both twins have the types of the specification (tests/kernels/test_stub.py)
    from edgevid.kernels.reference import *  # noqa: F403
else:
    globals().update({name: getattr(_chosen, name) for name in reference.__all__})

__all__ = ["BACKEND", "MOVING", "UNDECIDED", "UNMEASURED", "PlaneColumn", *reference.__all__]

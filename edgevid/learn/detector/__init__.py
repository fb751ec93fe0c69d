"""Training of a compact detector; each name is imported from its module at first use, as most need torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgevid._opencv import require_opencv
from edgevid.errors import require

if TYPE_CHECKING:
    from edgevid.learn.detector.distributed import Task, train_detector
    from edgevid.learn.detector.export import export_onnx, write_recipe
    from edgevid.learn.detector.train import Schedule

_HOMES = {"Schedule": "train", **dict.fromkeys(("Task", "train_detector"), "distributed")}
_HOMES |= dict.fromkeys(("export_onnx", "write_recipe"), "export")

__all__ = ["Schedule", "Task", "export_onnx", "train_detector", "write_recipe"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torch", extra="train", purpose="Training a detector")
    require_opencv("Training a detector")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

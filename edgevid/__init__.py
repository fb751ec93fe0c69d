"""edgevid: on-device video analytics that knows when to be silent.

The names below are loaded when first used, so that `import edgevid` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgevid.errors import EdgevidError
    from edgevid.pipeline import Pipeline, Recognition
    from edgevid.types import (
        Clips,
        Detections,
        Frame,
        InputSpec,
        Reason,
        Result,
        Scores,
        Speeds,
        Tracks,
        Verdicts,
    )

_HOMES = {
    "Clips": "types",
    "Detections": "types",
    "EdgevidError": "errors",
    "Frame": "types",
    "InputSpec": "types",
    "Pipeline": "pipeline",
    "Reason": "types",
    "Recognition": "pipeline",
    "Result": "types",
    "Scores": "types",
    "Speeds": "types",
    "Tracks": "types",
    "Verdicts": "types",
}
"""Public names, sorted, and the modules that hold them."""

__all__ = [
    "Clips",
    "Detections",
    "EdgevidError",
    "Frame",
    "InputSpec",
    "Pipeline",
    "Reason",
    "Recognition",
    "Result",
    "Scores",
    "Speeds",
    "Tracks",
    "Verdicts",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgevid' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edgevid.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

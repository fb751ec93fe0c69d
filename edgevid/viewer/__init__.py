"""Pages served to a browser: the overlay viewer of `edgevid-demo`, and the calibration page. They need the extra
`viewer` (starlette, uvicorn, websockets): docs/viewer.md. The names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgevid.viewer.app import viewer_app
    from edgevid.viewer.serve import Server
    from edgevid.viewer.state import ViewerState

_HOMES = {"Server": "serve", "ViewerState": "state", "viewer_app": "app"}

__all__ = ["Server", "ViewerState", "viewer_app"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

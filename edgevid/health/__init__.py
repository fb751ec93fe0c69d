"""Camera health: has the camera moved, do its speeds drift."""

from __future__ import annotations

from edgevid.health.monitor import CameraHealth

__all__ = ["CameraHealth"]

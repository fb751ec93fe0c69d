"""One camera's configuration: read once, built once, checked."""

from __future__ import annotations

from edgevid.site.build import build_pipeline, build_zones
from edgevid.site.file import Site, read_site

__all__ = ["Site", "build_pipeline", "build_zones", "read_site"]

"""One camera's configuration: read once, built once, checked."""

from edgevid.site.build import LoadedSite, build_pipeline, build_zones, load_site
from edgevid.site.check import check_site
from edgevid.site.file import RecognizerChoice, Site, read_site

__all__ = [
    "LoadedSite", "RecognizerChoice", "Site", "build_pipeline", "build_zones", "check_site", "load_site",
    "read_site",
]  # fmt: skip

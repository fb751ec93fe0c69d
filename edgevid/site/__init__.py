"""One camera's configuration: read once, built once, checked."""

from edgevid.site.build import LoadedSite, build_calibration, build_detector, build_pipeline, build_zones, load_site
from edgevid.site.check import check_site
from edgevid.site.file import RecognizerChoice, Site, read_site, write_gate
from edgevid.site.tables import build_sinks

__all__ = ["LoadedSite", "RecognizerChoice", "Site", "build_calibration", "build_detector", "build_pipeline",
           "build_sinks", "build_zones", "check_site", "load_site", "read_site", "write_gate"]  # fmt: skip

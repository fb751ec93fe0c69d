"""From a site to the pipeline that serves it."""

from __future__ import annotations

from edgevid.detect import Detector
from edgevid.ground_speed import SpeedMeter
from edgevid.ground_survey import Survey, read_survey
from edgevid.pipeline import Pipeline
from edgevid.site import Site
from edgevid.track import Tracker
from edgevid.zones import ZoneMonitor


def build_pipeline(site: Site, size: tuple[int, int], *, threads: int | None = None) -> Pipeline:
    """The pipeline of `site` for frames of `size` (width, height); models are fetched where needed."""
    detector = Detector.load(
        site.model,
        device=site.device,
        precision=site.precision,
        threads=threads,
        # Doubtful boxes carry known objects on; the tracker starts new ones only from sure ones.
        score=min(0.1, site.score),
        classes=site.classes or None,
    )
    tracker = Tracker(high_score=site.score, new_score=min(1.0, site.score + 0.1))
    survey = build_survey(site, size)
    return Pipeline(detector, tracker, meter=SpeedMeter(survey) if survey else None)


def build_survey(site: Site, size: tuple[int, int]) -> Survey | None:
    """The survey of `site` for frames of `size`, None where it has none."""
    return read_survey(site.survey).scaled_to(size) if site.survey else None


def build_zones(site: Site, size: tuple[int, int]) -> ZoneMonitor | None:
    """The zone monitor of `site`, None where it has no zones and lines."""
    if not site.zones and not site.lines:
        return None
    survey = build_survey(site, size)
    return ZoneMonitor(site.zones, site.lines, to_ground=survey.place if survey else None)

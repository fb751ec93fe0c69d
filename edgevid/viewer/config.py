"""What `edgevid-demo` shows: a site's source through its pipeline, or a rendered street."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.errors import masked
from edgevid.output.ground_grid import GridOverlay
from edgevid.output.ground_truth import TruthOverlay
from edgevid.output.overlay import Overlay
from edgevid.pipeline import Pipeline
from edgevid.site.build import build_calibration, build_pipeline, build_zones, load_site
from edgevid.site.file import Site
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import Camera
from edgevid.track import Tracker
from edgevid.video.open import open_video
from edgevid.zones import ZoneMonitor

SHIPPED = "street-nano"
"""The detector inside the package, which needs no network."""
RENDERED_NOTE = (
    f"A rendered street, not a camera. {SHIPPED}, the small detector in the package, detects its people and "
    "vehicles; it was trained on renderings of other streets like this one."
)
SHIPPED_NOTE = (
    f"{SHIPPED}, the small detector in the package, detects the objects, because the default model could not "
    "be downloaded. engines/street-nano/CARD.md states how much less accurate it is."
)


@dataclass(frozen=True)
class ViewerConfig:
    """A source, its pipeline and what the viewer needs to show them."""

    title: str
    """The source's name, secrets hidden."""
    source: Any
    """An opened source; the run closes it."""
    reopen: Callable[[], Any]
    """Opens the source again, to play it once more."""
    pipeline: Pipeline
    model: str
    """The detector's name."""
    notes: tuple[str, ...] = ()
    calibration: CameraCalibration | None = None
    monitor: ZoneMonitor | None = None
    site: Site | None = None
    site_file: Path | None = None
    """Where edited zones and lines are saved."""


def open_site(site: Site, *, threads: int | None = None) -> ViewerConfig:
    """The site's own source; DownloadError where a model is not available, SourceError without the source."""
    loaded = load_site(site)
    video: Any = open_video(site.source)
    try:
        if video.live and hasattr(video, "wait"):
            video.wait()  # calibration and zones need the image's size
        pipeline = build_pipeline(loaded, video.size, threads=threads)
        calibration, monitor = build_calibration(loaded, video.size), build_zones(loaded, video.size)
    except BaseException:
        video.close()
        raise
    title = masked(site.source)
    model = str(getattr(getattr(pipeline.detector, "recipe", None), "name", ""))
    return ViewerConfig(
        title if video.live else Path(title).name, video, lambda: open_video(site.source), pipeline, model,
        (SHIPPED_NOTE,) if model == SHIPPED and site.model is None else (), calibration=calibration,
        monitor=monitor, site=site,
    )  # fmt: skip


def open_rendered_street() -> ViewerConfig:
    """The rendered street with the calibration of its own geometry, and the detector in the package."""
    street = RenderedStreet(seconds=20)
    calibration = rendered_calibration(street.scene.camera)
    pipeline = Pipeline(Detector.load(SHIPPED), Tracker(), speed_estimator=SpeedEstimator(calibration))
    return ViewerConfig(
        "rendered street", street, lambda: street, pipeline, SHIPPED, (RENDERED_NOTE,), calibration
    )


def rendered_calibration(camera: Camera) -> CameraCalibration:
    """The calibration of a rendered camera, from its own geometry: the road from 12 to 60 m."""
    meters = np.array([[x, y] for y in (12.0, 20.0, 35.0, 60.0) for x in (-7.0, 0.0, 7.0)])
    pixels = camera.project(np.concatenate([meters, np.zeros((len(meters), 1))], 1))
    return make_calibration(pixels, meters, (camera.width, camera.height), k1=camera.k1, focal=camera.focal)


def make_overlay(config: ViewerConfig, unit: str) -> Overlay:
    """The overlay of a config: with the truth where it is known, else with the ground grid if calibrated."""
    if isinstance(config.source, RenderedStreet):
        return TruthOverlay(config.source.scene)
    return GridOverlay(config.calibration, unit=unit)

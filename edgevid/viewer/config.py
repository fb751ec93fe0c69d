"""What `edgevid-demo` shows: a site's source through its pipeline, or a rendered street."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.output.ground_grid import GridOverlay
from edgevid.output.overlay import Overlay
from edgevid.output.truth import TruthOverlay
from edgevid.pipeline import Pipeline
from edgevid.site.build import build_calibration, build_pipeline, build_zones
from edgevid.site.file import Site
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import Camera
from edgevid.track import Tracker
from edgevid.video.open import masked, open_video
from edgevid.zones import ZoneMonitor

SHIPPED = "street-nano"
"""The detector inside the package, which needs no network."""
RENDERED_NOTE = (
    f"A rendered street: a drawing, not a camera. {SHIPPED}, the small detector that ships with edgevid, "
    "finds its people and vehicles; it learned from drawings of other streets like this one."
)
SHIPPED_NOTE = (
    f"{SHIPPED}, the small detector that ships with edgevid, finds the objects here, as no other could be "
    "fetched. It is weaker than the default: engines/street-nano/CARD.md says by how much."
)


@dataclass(frozen=True)
class ViewerConfig:
    """What is shown, and by what."""

    title: str
    """The source's name, secrets hidden."""
    source: Any
    """An opened source; it is closed by who runs it."""
    open_again: Callable[[], Any]
    """Opens the source anew, for another round."""
    pipeline: Pipeline
    model: str
    """What the boxes come from."""
    notes: tuple[str, ...] = ()
    calibration: CameraCalibration | None = None
    monitor: ZoneMonitor | None = None
    site: Site | None = None
    site_file: Path | None = None
    """Where edited zones and lines are saved."""


def real(site: Site, *, threads: int | None = None) -> ViewerConfig:
    """The site's own source; DownloadError where a model cannot be had, SourceError without the source."""
    video: Any = open_video(site.source)
    try:
        if video.live and hasattr(video, "wait"):
            video.wait()  # calibrations and zones want the image's size
        pipeline = build_pipeline(site, video.size, threads=threads)
        calibration, monitor = build_calibration(site, video.size), build_zones(site, video.size)
    except BaseException:
        video.close()
        raise
    title = masked(site.source)
    model = str(getattr(getattr(pipeline.detector, "recipe", None), "name", ""))
    return ViewerConfig(
        title if video.live else Path(title).name,
        video,
        lambda: open_video(site.source),
        pipeline,
        model,
        (SHIPPED_NOTE,) if model == SHIPPED and site.model is None else (),
        calibration=calibration,
        monitor=monitor,
        site=site,
    )


def rendered() -> ViewerConfig:
    """The rendered street with the calibration that its geometry gives, seen by the detector that ships."""
    from edgevid.speed.estimator import SpeedEstimator

    street = RenderedStreet(seconds=20)
    calibration = calibration_of(street.scene.camera)
    pipeline = Pipeline(Detector.load(SHIPPED), Tracker(), speed_estimator=SpeedEstimator(calibration))
    return ViewerConfig(
        "rendered street", street, lambda: street, pipeline, SHIPPED, (RENDERED_NOTE,), calibration
    )


def calibration_of(camera: Camera) -> CameraCalibration:
    """The calibration of a drawn camera, from its own geometry: the road from 12 to 60 m."""
    meters = np.array([[x, y] for y in (12.0, 20.0, 35.0, 60.0) for x in (-7.0, 0.0, 7.0)])
    pixels = camera.project(np.concatenate([meters, np.zeros((len(meters), 1))], 1))
    return make_calibration(pixels, meters, (camera.width, camera.height), k1=camera.k1, focal=camera.focal)


def overlay_of(setting: ViewerConfig, unit: str) -> Overlay:
    """What draws the setting: the ground grid where there is a calibration, the truth where there is one."""
    if isinstance(setting.source, RenderedStreet):
        return TruthOverlay(setting.source.scene)
    return GridOverlay(setting.calibration, unit=unit)

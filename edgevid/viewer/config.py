"""What `edgevid-demo` shows: a site's source through its pipeline, or a rendered street."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.errors import InputError, masked
from edgevid.output.ground_grid import GridOverlay
from edgevid.output.ground_truth import TruthOverlay
from edgevid.output.overlay import Overlay
from edgevid.pipeline import Pipeline
from edgevid.site.build import LoadedSite, build_calibration, build_pipeline, build_zones
from edgevid.site.file import Site
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import Camera
from edgevid.track import Tracker
from edgevid.zones import Line, Zone, ZoneMonitor, in_pixels

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

    def scaled_to(self, size: tuple[int, int]) -> ViewerConfig:
        """The same for frames of `size`; without the calibration where they show another view."""
        try:
            return replace(self, calibration=self.calibration.scaled_to(size) if self.calibration else None)
        except InputError:
            return replace(self, calibration=None)


def build_config(loaded: LoadedSite, video: Any, reopen: Callable[[], Any], **options: Any) -> ViewerConfig:
    """The site's pipeline and zones for an open source; `options` of the models are `build_pipeline`'s.

    DownloadError where a model is not available.
    """
    site, title = loaded.site, masked(loaded.site.source)
    pipeline = build_pipeline(loaded, video.size, **options)
    model = str(getattr(getattr(pipeline.detector, "recipe", None), "name", ""))
    return ViewerConfig(
        title if video.live else Path(title).name, video, reopen, pipeline, model,
        (SHIPPED_NOTE,) if model == SHIPPED and site.model is None else (),
        calibration=build_calibration(loaded, video.size), monitor=build_zones(loaded, video.size), site=site,
    )  # fmt: skip


def build_street(street: RenderedStreet) -> ViewerConfig:
    """A rendered street with the calibration of its own geometry, and the detector in the package."""
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
    """The overlay of a config: the truth where it is known, else the ground grid if calibrated, and zones."""
    if isinstance(config.source, RenderedStreet):
        return TruthOverlay(config.source.scene)
    site, grid = config.site or Site(), config.calibration
    everything: list[Zone | Line] = [*site.zones, *site.lines]
    drawn_on = site.size or config.source.size
    shapes = [shape for shape in in_pixels(everything, drawn_on) if grid or not shape.ground]
    return GridOverlay(grid, unit=unit, shapes=shapes, drawn_on=drawn_on)

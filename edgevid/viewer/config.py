"""What `edgevid-demo` shows: a site's source through its pipeline, or a rendered street; and the server of a run, in a
thread of its own while the frame loop runs."""

import os
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.abstain.policy import Policy
from edgevid.actions import ClipBuffer, ClipSpec, FunctionRecognizer
from edgevid.detect.detector import Detector
from edgevid.files.toml import toml_table
from edgevid.insight.review import Review
from edgevid.output.ground_grid import GridOverlay, TruthOverlay
from edgevid.output.overlay import Overlay
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.site import LoadedSite, Site, build_calibration, build_pipeline, build_zones
from edgevid.site.file import camera_name
from edgevid.speed import CameraCalibration, SpeedEstimator, make_calibration
from edgevid.synthetic import ACTIONS, CLASSES, Camera, RenderedStreet, motion_actions
from edgevid.track import LOST_AFTER_S, Tracker
from edgevid.types import Reason, Scores, Tracks, Verdicts
from edgevid.viewer.serve import Server
from edgevid.viewer.state import ViewerState
from edgevid.zones import Line, Zone, ZoneMonitor, in_pixels

SHIPPED = "street-nano"  # The detector inside the package, which needs no network
RENDERED_NOTE = (f"A rendered street, not a camera. {SHIPPED}, the small detector in the package, detects its people "
                 "and vehicles; its training had renderings of other streets, too. How their pixels change tells what "
                 "people do.")  # fmt: skip
SHIPPED_NOTE = ("{0}, a small detector in the package, detects the objects, because the default model could not be "
                "downloaded. engines/{0}/CARD.md states how much less accurate it is.")  # fmt: skip

MOTION_CLIPS = ClipSpec(steps=10, rate_hz=12.5, width=24, height=48, stride_s=0.4, min_steps=8, fit="stretch",
                        min_side=12.0)  # fmt: skip # Of the people of the rendered street
PERSON, STREET_LIMIT_KMH = CLASSES.index("person"), 50.0  # Whose actions are recognized; the street's speed limit
STREET_ZONES = (
    Zone("crossing", [(-7.4, 22.0), (7.4, 22.0), (7.4, 34.0), (-7.4, 34.0)], ground=True, max_occupancy=2),
    Zone("west sidewalk", [(-11.5, 13.0), (-7.6, 13.0), (-7.6, 45.0), (-11.5, 45.0)], ground=True, dwell_s=4),
)
STREET_LINES = (Line("counting line", (-7.3, 19.0), (7.3, 19.0), ground=True),)


@dataclass(frozen=True)
class ViewerConfig:
    """A source, its pipeline and what the viewer needs to show them."""

    title: str  # The camera's name, or the file's
    source: Any  # An opened source; the run closes it
    reopen: Callable[[], Any]  # Opens the source again, to play it once more
    pipeline: Pipeline
    model: str  # The detector's name
    notes: tuple[str, ...] = ()
    calibration: CameraCalibration | None = None
    monitor: ZoneMonitor | None = None
    site: Site | None = None
    speed_limit_kmh: float | None = None


def build_config(loaded: LoadedSite, video: Any, reopen: Callable[[], Any], **options: Any) -> ViewerConfig:
    """The site's pipeline and zones for an open source; `options` of the models are `build_pipeline`'s. DownloadError
    where a model is not available."""
    site = loaded.site
    title = site.name or camera_name(site.source) if video.live else Path(site.source).name
    pipeline = build_pipeline(loaded, video.size, **options)
    model = str(getattr(getattr(pipeline.detector, "recipe", None), "name", ""))
    return ViewerConfig(title, video, reopen, pipeline, model,
                        (SHIPPED_NOTE.format(model),) if model.startswith("street-") and site.model is None else (),
                        calibration=build_calibration(loaded, video.size), monitor=build_zones(loaded, video.size),
                        site=site, speed_limit_kmh=site.speed_limit_kmh)  # fmt: skip


class PeoplePolicy(Policy):
    """Verdicts on people; what vehicles do is not measured."""

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts:
        """As of any policy."""
        found = super().update(scores, tracks, time)
        small = (tracks.boxes[:, 2:] - tracks.boxes[:, :2]).min(1) < MOTION_CLIPS.min_side
        none_yet = np.where(small, Reason.TOO_SMALL, Reason.TOO_SHORT)  # of people without a clip
        reason = np.where(found.reason == Reason.NOT_MEASURED, none_yet, found.reason)
        reason = np.where(tracks.labels == PERSON, reason, Reason.NOT_MEASURED)
        return replace(found, reason=reason.astype(np.uint8))


def build_street(street: RenderedStreet) -> ViewerConfig:
    """A rendered street: its own geometry as calibration, the detector in the package, zones and a line."""
    calibration = rendered_calibration(street.scene.camera)
    policy = PeoplePolicy(ACTIONS, threshold=0.6, min_observations=2, memory_s=2.0, task="action")
    action = RecognitionTask(ClipBuffer(MOTION_CLIPS, labels=[PERSON]), FunctionRecognizer(motion_actions, ACTIONS),
                             policy)  # fmt: skip
    speeds = SpeedEstimator(calibration, lost_after_s=LOST_AFTER_S)
    pipeline = Pipeline(Detector.load(SHIPPED, score_threshold=0.4), Tracker(), speed_estimator=speeds,
                        recognitions={"action": action})  # fmt: skip
    monitor = ZoneMonitor(STREET_ZONES, STREET_LINES, to_ground=calibration.to_ground, size=street.size)
    return ViewerConfig("rendered street", street, lambda: street, pipeline, SHIPPED, (RENDERED_NOTE,), calibration,
                        monitor, speed_limit_kmh=STREET_LIMIT_KMH)  # fmt: skip


def rendered_calibration(camera: Camera) -> CameraCalibration:
    """The calibration of a rendered camera, from its own geometry: road and sidewalks from 12 to 60 m."""
    meters = np.array([[x, y] for y in (12.0, 20.0, 35.0, 60.0) for x in (-11.0, 0.0, 11.0)])
    pixels = camera.project(np.concatenate([meters, np.zeros((len(meters), 1))], 1))
    return make_calibration(pixels, meters, (camera.width, camera.height), k1=camera.k1, focal=camera.focal)


def make_overlay(config: ViewerConfig, unit: str, *, scores: bool = False) -> Overlay:
    """The overlay of a config: the truth where it is known, else the ground grid if calibrated, and zones."""
    if isinstance(config.source, RenderedStreet):
        return TruthOverlay(config.source.scene, config.calibration, (*STREET_ZONES, *STREET_LINES), scores)
    site, grid = config.site or Site(), config.calibration
    everything: list[Zone | Line] = [*site.zones, *site.lines]
    drawn_on = site.size or config.source.size
    shapes = in_pixels(everything, drawn_on)
    return GridOverlay(grid, unit=unit, scores=scores, shapes=shapes, drawn_on=drawn_on, cell_m=site.grid_m)


@dataclass(frozen=True)
class View:
    """How a run is shown."""

    server: Mapping[str, Any]  # Options of Server
    display: Mapping[str, Any] = field(default_factory=dict)  # ViewerState's quality and max_side
    browser: bool = False  # Whether the page is opened
    once: bool = True  # Whether a file is played once; else again and again


@contextmanager
def viewing(config: ViewerConfig, view: View, *, announce: Callable[[str], None], site_file: Path | None = None,
            recorder: Any = None, unit: str = "km/h", review: Path | None = None) -> Iterator[ViewerState]:  # fmt: skip
    """The state of a viewer that is served until the block ends; `announce` gets its address. `review` is a
    folder of --save-abstained."""
    state = ViewerState(config.source, config.pipeline, title=config.title, model=config.model, notes=config.notes,
                        calibration=config.calibration, monitor=config.monitor, site_file=site_file,
                        site_header=site_header(config, site_file), unit=unit, recordings=recorder and recorder.path,
                        reopen=None if view.once else config.reopen, tap=recorder and recorder.tap,
                        review=Review(review, later=True) if review else None, **view.display)  # fmt: skip
    from edgevid.viewer.app import viewer_app  # needs the extra

    with closing(state), Server(viewer_app(state), **view.server) as served:
        announce(served.url)
        if view.browser:
            webbrowser.open(served.address)
        yield state


def site_header(config: ViewerConfig, site_file: Path | None) -> str:
    """The beginning of a new site file: source, calibration and the size that annotations refer to."""
    if config.site is None or site_file is None:
        return ""
    source, size, calibration = config.site.source, config.source.size, None
    if Path(source).exists():
        source = str(Path(source).resolve())
    if config.site.calibration is not None:
        calibration = os.path.relpath(config.site.calibration.resolve(), site_file.resolve().parent)
    lines = toml_table("", {"source": source.replace("${", "$${")})  # no variable of the file
    return "\n".join(lines + toml_table("camera", {"size": size, "calibration": calibration}))

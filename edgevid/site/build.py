"""From a site to the pipeline that serves it."""

from __future__ import annotations

from edgevid.abstain.drift import DriftMonitor
from edgevid.abstain.file import read_policy
from edgevid.abstain.policy import ClassPolicy, Policy, SpeedPolicy
from edgevid.actions import load_recognizer
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.detect.detector import Detector
from edgevid.errors import InputError
from edgevid.files.digest import sha256_of
from edgevid.health.monitor import CameraHealth
from edgevid.models.hub import resolve_model
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.site.file import RecognizerChoice, Site
from edgevid.speed.calibration import CameraCalibration, scale_between
from edgevid.speed.calibration_file import read_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.track import Tracker
from edgevid.zones import ZoneMonitor

RECOGNITIONS_A_SECOND = 50
"""The budget of each recognizer: new and uncertain objects come first."""


def build_pipeline(site: Site, size: tuple[int, int], *, threads: int | None = None) -> Pipeline:
    """The pipeline of `site` for frames of `size` (width, height); models are fetched where needed."""
    detector = Detector.load(
        site.model,
        device=site.device,
        precision=site.precision,
        threads=threads,
        # Doubtful boxes carry known objects on; the tracker starts new ones only from sure ones.
        score_threshold=min(0.1, site.score),
        classes=site.classes or None,
    )
    tracker = Tracker(track_high_thresh=site.score, new_track_thresh=min(1.0, site.score + 0.1))
    calibration = build_calibration(site, size)
    speed_estimator = build_speed_estimator(site, calibration) if calibration else None
    recognitions = {choice.task: build_recognition(choice, threads=threads) for choice in site.recognizers}
    classes = ClassPolicy(read_policy(site.policy, names=detector.names).policy()) if site.policy else None
    speeds = read_policy(site.policy).speed if site.policy else None
    health = CameraHealth(site.health, calibration=calibration) if site.health else None
    return Pipeline(
        detector, tracker, speed_estimator=speed_estimator, health=health, recognitions=recognitions, class_policy=classes,
        speed_policy=speeds,
    )  # fmt: skip


def build_recognition(choice: RecognizerChoice, *, threads: int | None = None) -> RecognitionTask:
    """A recognizer with its clips and its abstain policy (the cautious default where none was tuned)."""
    recognizer = load_recognizer(choice.model, threads=threads)
    if choice.policy is not None:
        model = resolve_model(choice.model).local
        policy = read_policy(
            choice.policy, names=recognizer.names, model_sha256=sha256_of(model) if model else None
        ).policy()
    else:
        policy = Policy(recognizer.names, task=choice.task)
    return RecognitionTask(ClipBuffer(recognizer.spec, budget=RECOGNITIONS_A_SECOND), recognizer, policy)


def build_speed_estimator(site: Site, calibration: CameraCalibration) -> SpeedEstimator:
    """The speed estimator as `site` wants it; the [speed] limits of its policy count, wider ones too."""
    limits = (read_policy(site.policy).speed if site.policy else None) or SpeedPolicy()
    return SpeedEstimator(
        calibration,
        method=site.speed_method,
        contact=site.contact,
        road_deg=site.road_deg,
        sigma_limit_mps=limits.max_sigma_mps,
        sigma_limit_share=limits.max_share,
    )


def build_calibration(site: Site, size: tuple[int, int]) -> CameraCalibration | None:
    """The calibration of `site` for frames of `size`, None where it has none."""
    return read_calibration(site.calibration).scaled_to(size) if site.calibration else None


def build_zones(site: Site, size: tuple[int, int]) -> ZoneMonitor | None:
    """The zone monitor of `site`, None where it has no zones and lines."""
    if not site.zones and not site.lines:
        return None
    drawn = site.size or size
    calibration = build_calibration(site, drawn)
    monitor = ZoneMonitor(site.zones, site.lines, to_ground=calibration.to_ground if calibration else None)
    scale = scale_between(size, drawn)
    if scale is None:
        raise InputError(
            f"zones and lines: expected the aspect ratio of {drawn[0]}x{drawn[1]}, got a stream of "
            f"{size[0]}x{size[1]}: another view; draw them again"
        )
    monitor.scale = scale
    return monitor


def build_monitors(site: Site) -> dict[str, DriftMonitor]:
    """A watch for each tuned policy of `site`: does it refuse as much here as where it was tuned?"""
    tuned = {choice.task: read_policy(choice.policy).tuned for choice in site.recognizers if choice.policy}
    return {task: DriftMonitor(found) for task, found in tuned.items() if found.quantiles}

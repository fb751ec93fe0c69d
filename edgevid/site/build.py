"""From a site to the pipeline that serves it."""

from __future__ import annotations

from edgevid.abstain.drift import DriftMonitor
from edgevid.abstain.file import read_policy
from edgevid.abstain.policy import ClassPolicy, Policy, SpeedPolicy
from edgevid.actions import load_recogniser
from edgevid.actions.clips import ClipBuffer
from edgevid.detect.detector import Detector
from edgevid.errors import InputError
from edgevid.files.digest import sha256_of
from edgevid.health.monitor import CameraHealth
from edgevid.models.hub import resolve_model
from edgevid.pipeline import Pipeline, Recognition
from edgevid.site.file import RecogniserChoice, Site
from edgevid.speed.calibration import Survey, read_survey
from edgevid.speed.estimator import SpeedMeter
from edgevid.track import Tracker
from edgevid.zones import ZoneMonitor

RECOGNITIONS_A_SECOND = 50
"""The budget of each recogniser: new and uncertain objects come first."""


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
    meter = build_meter(site, survey) if survey else None
    recognitions = {choice.task: build_recognition(choice, threads=threads) for choice in site.recognisers}
    classes = ClassPolicy(Policy.load(site.policy, names=detector.names)) if site.policy else None
    speeds = read_policy(site.policy).speed if site.policy else None
    health = CameraHealth(site.health, survey=survey) if site.health else None
    return Pipeline(
        detector, tracker, meter=meter, health=health, recognitions=recognitions, class_policy=classes,
        speed_policy=speeds,
    )  # fmt: skip


def build_recognition(choice: RecogniserChoice, *, threads: int | None = None) -> Recognition:
    """A recogniser with its clips and its abstain policy (the cautious default where none was tuned)."""
    recogniser = load_recogniser(choice.model, threads=threads)
    if choice.policy is not None:
        model = resolve_model(choice.model).local
        policy = Policy.load(
            choice.policy, names=recogniser.names, model_sha256=sha256_of(model) if model else None
        )
    else:
        policy = Policy(recogniser.names, task=choice.task)
    return Recognition(ClipBuffer(recogniser.spec, budget=RECOGNITIONS_A_SECOND), recogniser, policy)


def build_meter(site: Site, survey: Survey) -> SpeedMeter:
    """The speed meter as `site` wants it; the [speed] limits of its policy count, wider ones too."""
    limits = (read_policy(site.policy).speed if site.policy else None) or SpeedPolicy()
    return SpeedMeter(
        survey,
        method=site.speed_method,
        contact=site.contact,
        road_deg=site.road_deg,
        sigma_limit_mps=limits.max_sigma_mps,
        sigma_limit_share=limits.max_share,
    )


def build_survey(site: Site, size: tuple[int, int]) -> Survey | None:
    """The survey of `site` for frames of `size`, None where it has none."""
    return read_survey(site.survey).scaled_to(size) if site.survey else None


def build_zones(site: Site, size: tuple[int, int]) -> ZoneMonitor | None:
    """The zone monitor of `site`, None where it has no zones and lines."""
    if not site.zones and not site.lines:
        return None
    drawn = site.size or size
    survey = build_survey(site, drawn)
    monitor = ZoneMonitor(site.zones, site.lines, to_ground=survey.place if survey else None)
    monitor.scale = drawn[0] / size[0], drawn[1] / size[1]
    if abs(monitor.scale[0] / monitor.scale[1] - 1) > 0.01:
        raise InputError(
            f"zones and lines: drawn on {drawn[0]}x{drawn[1]}, the stream is {size[0]}x{size[1]}: another "
            "aspect, so another view; draw them again"
        )
    return monitor


def build_monitors(site: Site) -> dict[str, DriftMonitor]:
    """A watch for each tuned policy of `site`: does it refuse as much here as where it was tuned?"""
    tuned = {choice.task: read_policy(choice.policy).tuned for choice in site.recognisers if choice.policy}
    return {task: DriftMonitor(found) for task, found in tuned.items() if found.quantiles}

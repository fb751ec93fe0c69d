"""From a site, with its files read once, to the pipeline, zones and monitors that serve it, and the header of its run:
camera, source, start, and the SHA-256 of the files that decide results."""

import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgevid.abstain import DriftMonitor, Policy, PolicyFile, Settings, read_policy
from edgevid.actions import ClipBuffer, load_recognizer
from edgevid.detect import Detector, Gate
from edgevid.errors import InputError, did_you_mean, masked, module_version
from edgevid.files import sha256_of
from edgevid.health import CameraHealth, ImageQuality
from edgevid.models.hub import resolve_model
from edgevid.output.blur import Blur
from edgevid.pipeline import Damaged, Pipeline, RecognitionTask
from edgevid.runtime import Engine, load_engine, model_digest
from edgevid.site.file import RecognizerChoice, Site, camera_name, read_site
from edgevid.speed import CameraCalibration, Displacement, SpeedEstimator, SpeedPolicy, read_calibration
from edgevid.track import LOST_AFTER_S
from edgevid.types import Header, scale_between
from edgevid.zones import ZoneMonitor

LoadEngine = Callable[..., Engine]  # `load_engine`, or another that takes the same
RECOGNITIONS_PER_S = 50  # The budget of each recognizer: new and uncertain objects come first
PEOPLE_AND_VEHICLES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
"""The classes of a site that names none, where the model has these and others; else all that it has."""
TRACK_LOW_SCORE = 0.1  # From this score on a detection continues a track; from the site's `score`, in the first stage


@dataclass(frozen=True, slots=True)
class LoadedSite:
    """A site and what its calibration and policy files hold: each is read once, here. Building from it opens no
    other file than the models."""

    site: Site
    calibration: CameraCalibration | None = None  # As in its file; `build_calibration` scales it to a stream
    policy: PolicyFile | None = None  # Of the detector's classes and of speeds
    recognizer_policies: Mapping[str, PolicyFile] = field(default_factory=dict)  # By task, of those that have one

    def drift_monitors(self) -> dict[str, DriftMonitor]:
        """By task, a monitor of each tuned policy: does it abstain as often here as where it was tuned?"""
        tuned = {task: policy.tuned for task, policy in self.recognizer_policies.items()}
        return {task: DriftMonitor(found) for task, found in tuned.items() if found.quantiles}


def load_site(site: Site | str | Path) -> LoadedSite:
    """A site, or that of a TOML file, with its files read; FileFormatError or InputError names a bad one."""
    if not isinstance(site, Site):
        site = read_site(site)
    calibration = read_calibration(site.calibration) if site.calibration else None
    policy = read_policy(site.policy) if site.policy else None
    own = {choice.task: read_policy(choice.policy) for choice in site.recognizers if choice.policy}
    return LoadedSite(site, calibration, policy, own)


def build_pipeline(loaded: LoadedSite, size: tuple[int, int], *, threads: int | None = None,
                   imgsz: int | tuple[int, int] | None = None, damaged: Damaged = "coast",
                   load: LoadEngine = load_engine) -> Pipeline:  # fmt: skip
    """The pipeline of a site for frames of `size` (width, height); fetches models that are not there, and opens them
    by `load`, as many cameras share engines. InputError where the detector's input cannot have the size `imgsz`."""
    site = loaded.site
    detector = build_detector(site, threads=threads, imgsz=imgsz, load=load)
    if loaded.policy is not None:
        loaded.policy.must_fit(names=detector.names, model_sha256=None)
    calibration, policies = build_calibration(loaded, size), loaded.recognizer_policies
    gate = Gate(site.every, threshold=site.gate_threshold, max_gap_s=site.max_gap_s) if site.every else None
    return Pipeline(
        detector, site.track.build(site.score), speed_estimator=build_speed_estimator(loaded, size),
        health=CameraHealth(site.health, calibration=calibration) if site.health else None,
        recognitions={one.task: build_recognition(one, policies.get(one.task), names=detector.names,
                                                   threads=threads, load=load) for one in site.recognizers},
        quality=ImageQuality() if site.quality and (site.recognizers or site.policy or site.health) else None,
        class_policy=loaded.policy.policy() if loaded.policy and loaded.policy.names else own_policy(detector),
        damaged=damaged, detect_every=gate,
    )  # fmt: skip


def build_detector(site: Site, *, threads: int | None = None, imgsz: int | tuple[int, int] | None = None,
                   load: LoadEngine = load_engine) -> Detector:  # fmt: skip
    """The detector of a site, with the low scores that continue tracks."""
    score, recipe = min(TRACK_LOW_SCORE, site.score), resolve_model(site.model)
    size: Any = {"imgsz": imgsz} if imgsz else {}
    return Detector(load(recipe, device=site.device, precision=site.precision, threads=threads), recipe,
                    score_threshold=score, classes=kept_classes(site.classes, recipe.names), **size)  # fmt: skip


def own_policy(detector: Detector) -> Policy | None:
    """The policy of a detector whose recipe has a threshold for each class; None of others. A track gets a class where
    its mean score reaches that: the calibrated scores of one track are as good as one."""
    own = dict(zip(detector.names, detector.recipe.decode.class_thresholds, strict=False))
    return Policy(detector.names, Settings(per_class=own, correlation=1.0), task="class") if own else None


def kept_classes(wanted: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...] | None:
    """The classes that a site keeps of a model with `names`; None: all, as ("all",) asks for."""
    if wanted:
        return None if wanted == ("all",) and "all" not in names else wanted
    return PEOPLE_AND_VEHICLES if set(names) > set(PEOPLE_AND_VEHICLES) else None


def build_recognition(choice: RecognizerChoice, policy: PolicyFile | None = None, *, names: Sequence[str] = (),
                      threads: int | None = None, load: LoadEngine = load_engine) -> RecognitionTask:  # fmt: skip
    """A recognizer with its clips and its abstain policy (without a `policy`, the default one). `names` are the
    detector's, of which the choice may have some; InputError for other ones."""
    recognizer = load_recognizer(choice.model, threads=threads, inside=choice.inside, load=load)
    if policy is not None:
        model = resolve_model(choice.model).local
        policy.must_fit(names=recognizer.names, model_sha256=model_digest(model) if model else None)
    if unknown := [name for name in choice.classes if name not in names]:
        raise InputError(f"recognize {choice.task}: expected classes among {', '.join(names)}, got {unknown[0]!r}"
                         f"{did_you_mean(unknown[0], names)}")  # fmt: skip
    labels = [names.index(name) for name in choice.classes]
    clips = ClipBuffer(recognizer.spec, budget=RECOGNITIONS_PER_S, labels=labels)
    decide = policy.policy() if policy and policy.names else Policy(recognizer.names, task=choice.task)
    return RecognitionTask(clips, recognizer, decide)


def build_speed_estimator(loaded: LoadedSite, size: tuple[int, int]) -> SpeedEstimator | None:
    """The speed estimator of a site, with the [speed] limits of its policy; None without a calibration."""
    if loaded.calibration is None:
        return None
    site, limits = loaded.site, (loaded.policy.speed if loaded.policy else None) or SpeedPolicy()
    return SpeedEstimator(loaded.calibration, size, method=site.speed_method,
                          displacement=Displacement(frames=site.speed_interval, average=site.speed_smoothing),
                          window_s=site.speed_window_s, lost_after_s=LOST_AFTER_S, contact=site.contact,
                          road_deg=site.road_deg, sigma_limit_mps=limits.max_sigma_mps,
                          sigma_limit_share=limits.max_share)  # fmt: skip


def build_calibration(loaded: LoadedSite, size: tuple[int, int]) -> CameraCalibration | None:
    """The calibration of a site for frames of `size`; InputError for another aspect ratio."""
    return loaded.calibration.scaled_to(size) if loaded.calibration else None


def build_zones(loaded: LoadedSite, size: tuple[int, int]) -> ZoneMonitor | None:
    """The zone monitor of a site for frames of `size`, None without zones and lines."""
    site = loaded.site
    if not site.zones and not site.lines:
        return None
    drawn = site.size or size
    if scale_between(size, drawn) is None:
        raise InputError(f"zones and lines: drawn on {drawn[0]}x{drawn[1]}, the stream is {size[0]}x{size[1]}: another "
                         "aspect ratio, so another view; draw them again")  # fmt: skip
    calibration = build_calibration(loaded, drawn)
    monitor = ZoneMonitor(site.zones, site.lines, to_ground=calibration.to_ground if calibration else None, size=drawn)
    monitor.resize(size)
    return monitor


def build_blur(site: Site, pipeline: Pipeline) -> list[Blur]:
    """The sink that comes first where a site blurs; InputError where its detector does not find the words."""
    if not site.blur:
        return []
    if site.health is not None:
        raise InputError("blur: camera health keeps images that are not blurred: leave one of both out")
    names = site.classes or pipeline.detector.names
    return [Blur(site.blur, pipeline.detector.names, found=names, face_model=site.face_model)]


PACKAGES = ("numpy", "onnxruntime", "av")


def build_header(loaded: LoadedSite, pipeline: Any, *, start: float | None = None) -> Header:
    """The header of a site's run; `start` is the UTC time of its first frame in seconds (None: now)."""
    site = loaded.site
    header = header_of(pipeline, site.source, camera=site.name, start=start)
    policy = {"policy": sha256_of(site.policy)} if site.policy else {}
    return replace(header, sha256={**header.sha256, **policy})


def header_of(pipeline: Any, source: str, *, camera: str = "", start: float | None = None) -> Header:
    """The header of a run of any pipeline: as much as its parts know of their files."""
    recipe = getattr(getattr(pipeline, "detector", None), "recipe", None)
    return Header(camera or camera_name(source), masked(source), clock.time() if start is None else start,
                  versions={**Header().versions, **{name: module_version(name) for name in PACKAGES}},
                  model=getattr(recipe, "name", ""), sha256={name: found for name, found in _hashes(pipeline) if found},
                  names=dict(getattr(pipeline, "names", {})))  # fmt: skip


def _hashes(pipeline: Any) -> Iterator[tuple[str, str]]:
    """Of each file behind a part of the pipeline: "model", "calibration", "policy", and by task."""

    def model(part: Any) -> str:
        local = getattr(getattr(part, "recipe", None), "local", None)
        return model_digest(local) if local else ""

    yield "model", model(getattr(pipeline, "detector", None))
    estimator = getattr(pipeline, "speed_estimator", None)
    yield "calibration", getattr(getattr(estimator, "calibration", None), "sha256", "")
    yield "policy", getattr(getattr(pipeline, "class_policy", None), "sha256", "")
    for task, one in getattr(pipeline, "recognitions", {}).items():
        yield task, model(one.recognizer)
        yield f"{task} inside", model(getattr(getattr(one.recognizer, "align", None), "detector", None))
        yield f"{task} policy", getattr(one.policy, "sha256", "")

"""Whether a site file is ready to run: each part of it, against the others and against the stream."""

from __future__ import annotations

import os
import time as clock
from pathlib import Path

import numpy as np

from edgevid.abstain.file import PolicyFile, read_policy
from edgevid.detect.detector import Detector
from edgevid.errors import EdgevidError, masked
from edgevid.models.catalog import find_recipe
from edgevid.site.build import build_recognition
from edgevid.site.check_camera import CameraCheck, check_camera
from edgevid.site.check_zones import check_zones
from edgevid.site.file import RecognizerChoice, Site, read_site
from edgevid.site.findings import Finding, attempt
from edgevid.site.load import LoadedSite
from edgevid.speed.calibration import CameraCalibration
from edgevid.speed.calibration_file import read_calibration
from edgevid.types import Frame
from edgevid.video.open import open_video

TIMED_FRAMES = 10
"""Frames that the model is timed on."""
CALIBRATE_AGAIN = "calibrate the camera again: docs/calibrate.md"


def check_site(path: Path, *, source: str = "", watch_s: float = 5.0) -> list[Finding]:
    """The findings in the order of the file; `source` replaces the file's own."""
    found: list[Finding] = []
    site = attempt(found, "file", lambda: read_site(path), "correct the file: docs/site.md lists its keys")
    if site is None:
        return found
    found.append(Finding("file", f"{path.name} is valid", True))
    found += _check_secrets(path, site.source)
    stream = _check_source(source or site.source, watch_s)
    found += stream.findings
    detector = _check_detector(found, site)
    if detector is not None and stream.frame is not None:
        found.append(_check_model_speed(detector, stream.frame, stream.fps))
    policy = _check_policy(found, site, detector) if detector is not None else None
    size = stream.frame.size if stream.frame is not None else site.size
    calibration = _check_calibration(found, site, size)
    for choice in site.recognizers:
        _check_recognizer(found, choice)
    found += check_zones(LoadedSite(site, calibration, policy), size)
    if site.health is not None:
        found.append(_check_folder("camera health", site.health))
    return found


def _check_secrets(path: Path, source: str) -> list[Finding]:
    """A file with a password should be readable by its owner only."""
    if masked(source) == source:
        return []
    if path.stat().st_mode & 0o077:
        state = "the file holds a password and other users may read it"
        return [Finding("permissions", state, False, f"chmod 600 {path}")]
    return [Finding("permissions", "only its owner reads the file's password", True)]


def _check_source(address: str, watch_s: float) -> CameraCheck:
    """Findings about the source, with one frame of it."""
    if not address:
        remedy = 'write source = "..." at the top, or give it to `edgevid run`'
        return CameraCheck([Finding("source", "none is given", None, remedy)])
    try:
        video = open_video(address)
    except EdgevidError as error:
        remedy = "check the path; relative ones start from the folder the program is started in"
        return CameraCheck([Finding("source", str(error), False, remedy)])
    with video:
        if not video.live:
            size = f"{video.size[0]}x{video.size[1]}"
            found = [Finding("source", f"{masked(address)}: {size}", True)]
            return CameraCheck(found, next(iter(video), None))
    return check_camera(address, watch_s=watch_s)


def _check_detector(found: list[Finding], site: Site) -> Detector | None:
    def load() -> Detector:
        return Detector.load(
            site.model,
            device=site.device,
            precision=site.precision,
            score_threshold=site.score,
            classes=site.classes or None,
        )

    remedy = "`edgevid models list` shows the names; `edgevid models get NAME` downloads one"
    detector = attempt(found, "model", load, remedy)
    if detector is not None:
        classes = ", ".join(site.classes) or f"all its {len(detector.names)} classes"
        found.append(Finding("model", f"{detector.recipe.name}: {classes}", True))
    elif site.model and site.classes:
        names = _class_names(site.model)
        unknown = [name for name in site.classes if names and name not in names]
        if unknown:
            known = f"its classes are {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            state = f"{site.model} has no class {', '.join(map(repr, unknown))}"
            found[-1] = Finding("classes", state, False, known)
    return detector


def _class_names(model: str) -> tuple[str, ...]:
    try:
        return find_recipe(model).names
    except EdgevidError:
        return ()


def _check_model_speed(detector: Detector, frame: Frame, fps: float | None) -> Finding:
    """The model's time for this frame, against the camera's frame rate."""
    detector.detect([frame])
    start = clock.perf_counter()
    for _ in range(TIMED_FRAMES):
        detector.detect([frame])
    spent = (clock.perf_counter() - start) / TIMED_FRAMES
    state = f"{1000 * spent:.0f} ms/frame"
    if fps is None or spent < 0.8 / fps:
        return Finding("model speed", state + (f", {1000 / fps:.0f} ms between frames" if fps else ""), True)
    remedy = "frames will be dropped (and counted): a smaller model, a lower frame rate, or a faster machine"
    return Finding("model speed", f"{state}, only {1000 / fps:.0f} ms between frames", None, remedy)


def _check_policy(found: list[Finding], site: Site, detector: Detector) -> PolicyFile | None:
    if site.policy is None:
        return None
    path, remedy = site.policy, "tune it again with this model: `edgevid tune` (docs/abstain.md)"
    policy = attempt(found, "policy", lambda: read_policy(path, names=detector.names), remedy)
    if policy is not None:
        found.append(Finding("policy", f"{path.name} fits the model's classes", True))
    return policy


def _check_calibration(
    found: list[Finding], site: Site, size: tuple[int, int] | None
) -> CameraCalibration | None:
    """The calibration, where it fits frames of `size`."""
    if site.calibration is None:
        return None
    path = site.calibration
    calibration = attempt(found, "calibration", lambda: read_calibration(path), CALIBRATE_AGAIN)
    if calibration is None:
        return None
    size = size or calibration.size
    if attempt(found, "calibration", lambda: calibration.scaled_to(size), CALIBRATE_AGAIN) is None:
        return None
    error = float(np.median(calibration.error_px()))
    made_on = f"{calibration.size[0]}x{calibration.size[1]}"
    state = f"{path.name}, made on {made_on}, {len(calibration.image)} points, median error {error:.1f} px"
    scaled = f", scaled to {size[0]}x{size[1]}" if size != calibration.size else ""
    found.append(Finding("calibration", state + scaled, True))
    return calibration


def _check_recognizer(found: list[Finding], choice: RecognizerChoice) -> None:
    subject = f"recognizer {choice.task}"
    remedy = "docs/actions.md: how a recognizer is made, and what its policy is tuned on"

    def build() -> object:
        return build_recognition(choice, read_policy(choice.policy) if choice.policy else None)

    if attempt(found, subject, build, remedy) is not None:
        policy = "its policy" if choice.policy else "the default policy"
        found.append(Finding(subject, f"{choice.model} with {policy}", True))


def _check_folder(subject: str, path: Path) -> Finding:
    if path.is_dir() and not os.access(path, os.W_OK):
        remedy = f"give the service's user the folder: chown USER {path}"
        return Finding(subject, f"{path} cannot be written", False, remedy)
    if not path.exists() and not path.parent.is_dir():
        return Finding(subject, f"{path.parent} does not exist", False, f"mkdir -p {path.parent}")
    return Finding(subject, f"{path} is used", True)

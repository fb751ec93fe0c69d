"""Whether a site file is ready to run: each part of it, against the others and against the stream."""

import os
import re
import shutil
from pathlib import Path
from timeit import timeit
from typing import Any

import numpy as np
import shapely

from edgevid.abstain.file import PolicyFile, read_policy
from edgevid.detect.detector import Detector
from edgevid.errors import SourceError, masked
from edgevid.files import check_file, check_folder, read_toml
from edgevid.output.tables import open_database
from edgevid.site.build import LoadedSite, build_detector, build_recognition, build_zones, kept_classes
from edgevid.site.check_camera import CameraCheck, Finding, attempt, check_camera
from edgevid.site.file import RecognizerChoice, Site, read_site
from edgevid.site.tables import RecordTable
from edgevid.speed import CameraCalibration, read_calibration
from edgevid.types import F64, Frame, Header, scale_between
from edgevid.video.open import open_video
from edgevid.zones import Line, Zone, in_pixels

TIMED_FRAMES = 10  # Frames that the model is timed on
CALIBRATE_AGAIN = "calibrate the camera again: docs/calibrate.md"
DRAW_AGAIN = "draw {} again: edgevid-demo --site FILE"
MIN_HELD, MIN_OUTLINE = 0.5, 0.1
"""Shares of an outline in the calibrated region below which a zone is a note, and below which an error."""
FOLDERS = ("folder", "parquet", "coco", "yolo")  # Kinds of outputs that are one; others are files
LEAST_FREE = 100_000_000  # Bytes of free disk below which a sink's disk counts as full


def check_site(path: Path, *, source: str = "", watch_s: float = 5.0) -> list[Finding]:
    """The findings in the order of the file; `source` replaces the file's own."""
    found: list[Finding] = []
    remedy = "correct the file: docs/site.md lists its keys"
    site = attempt(found, "file", lambda: read_site(path), remedy, lambda _: f"{path.name} is valid")
    if site is None:
        return found
    found += _check_secrets(path)
    stream = _check_source(source or site.source, watch_s)
    found += stream.findings
    detector = _check_detector(found, site)
    if detector is not None and stream.frame is not None:
        found.append(_check_model_speed(detector, stream.frame, stream.fps))
    policy = _check_policy(found, site, detector) if detector is not None else None
    size = stream.frame.size if stream.frame is not None else site.size
    calibration = _check_calibration(found, site, size)
    for choice in site.recognizers:
        _check_recognizer(found, choice, detector.names if detector is not None else choice.classes)
    found += check_zones(LoadedSite(site, calibration, policy), size)
    if site.health is not None:
        _check_output(found, "camera health", site.health)
    if site.record is not None:
        _check_recordings(found, site.record)
    for table in site.sinks:
        check_sink(found, table, site.name)
    return found


def _check_secrets(path: Path) -> list[Finding]:
    """A file with a password should be readable by its owner only; ${NAME} stands for one outside of it."""
    source = re.sub(r"\$\{[^}]*\}", "", str(read_toml(path).get("source", "")))
    source = re.sub(r"//[^/@:]*:?@", "//", source)  # a user without a password
    if masked(source) == source:
        return []
    if path.stat().st_mode & 0o077:
        state = "the file holds a password and other users may read it"
        return [Finding("permissions", state, False, f"chmod 600 {path}, or write ${{NAME}} for it")]
    return [Finding("permissions", "only its owner reads the file's password", True)]


def _check_source(address: str, watch_s: float) -> CameraCheck:
    if not address:
        remedy = 'write source = "..." at the top, or give it to `edgevid run`'
        return CameraCheck([Finding("source", "none is given", None, remedy)])
    found: list[Finding] = []
    remedy = "check the path; relative ones start from the site file's folder"
    video = attempt(found, "source", lambda: open_video(address), remedy)
    if video is None:
        return CameraCheck(found)
    with video:
        if not video.live:
            found.append(Finding("source", "{}: {}x{}".format(masked(address), *video.size), True))
            return CameraCheck(found, next(iter(video), None))
    return check_camera(address, watch_s=watch_s)


def _check_detector(found: list[Finding], site: Site) -> Detector | None:
    def describe(detector: Detector) -> str:
        kept = kept_classes(site.classes, detector.names) or (f"all its {len(detector.names)} classes",)
        return f"{detector.recipe.name}: {', '.join(kept)}"

    remedy = "`edgevid models list` shows the names; `edgevid models get NAME` downloads one"
    return attempt(found, "model", lambda: build_detector(site), remedy, describe)


def _check_model_speed(detector: Detector, frame: Frame, fps: float | None) -> Finding:
    detector.detect([frame])
    spent = timeit(lambda: detector.detect([frame]), number=TIMED_FRAMES) / TIMED_FRAMES
    state = f"{1000 * spent:.0f} ms/frame"
    if fps is None or spent < 0.8 / fps:
        return Finding("model speed", state + (f", {1000 / fps:.0f} ms between frames" if fps else ""), True)
    remedy = "frames will be dropped (and counted): a smaller model, a lower frame rate, or a faster machine"
    return Finding("model speed", f"{state}, only {1000 / fps:.0f} ms between frames", None, remedy)


def _check_policy(found: list[Finding], site: Site, detector: Detector) -> PolicyFile | None:
    if site.policy is None:
        return None
    path, remedy = site.policy, "tune it again with this model: `edgevid tune` (docs/abstain.md)"

    def describe(policy: PolicyFile) -> str:
        return f"{path.name} fits the model's classes" if policy.names else f"{path.name} limits speeds"

    return attempt(found, "policy", lambda: read_policy(path, names=detector.names), remedy, describe)


def _check_calibration(found: list[Finding], site: Site, size: tuple[int, int] | None) -> CameraCalibration | None:
    """The calibration, where it fits frames of `size`."""
    if site.calibration is None:
        return None
    path = site.calibration

    def load() -> CameraCalibration:
        calibration = read_calibration(path)
        calibration.scaled_to(size or calibration.size)
        return calibration

    def describe(calibration: CameraCalibration) -> str:
        made_on, count = "{}x{}".format(*calibration.size), len(calibration.image)
        error = float(np.median(calibration.error_px()))
        scaled = f", scaled to {size[0]}x{size[1]}" if size not in (None, calibration.size) else ""
        return f"{path.name}, made on {made_on}, {count} points, median error {error:.1f} px{scaled}"

    return attempt(found, "calibration", load, CALIBRATE_AGAIN, describe)


def _check_recognizer(found: list[Finding], choice: RecognizerChoice, names: tuple[str, ...]) -> None:
    path, remedy = choice.policy, "docs/actions.md: how a recognizer is made, and what its policy is tuned on"
    inside = f" inside what {choice.inside} finds" if choice.inside else ""
    state = f"{choice.model}{inside} with {'its policy' if path else 'the default policy'}"
    attempt(found, f"recognizer {choice.task}",
            lambda: build_recognition(choice, read_policy(path) if path else None, names=names),
            remedy, lambda _: state)  # fmt: skip


def check_zones(loaded: LoadedSite, size: tuple[int, int] | None) -> list[Finding]:
    """Where zones and lines lie on frames of `size` (None: there was no frame)."""
    site = loaded.site
    shapes: list[Zone | Line] = [*site.zones, *site.lines]
    if not shapes:
        return []
    subject = "zones and lines"
    if size is None:
        return [Finding(subject, f"{len(shapes)}, not compared with any image", None, "make the source reachable")]
    found: list[Finding] = []
    if attempt(found, subject, lambda: build_zones(loaded, size), DRAW_AGAIN.format("them")) is None:
        return found
    placed = in_pixels(shapes, site.size or size)
    wrong = [finding for shape in placed if (finding := _check_shape(shape, loaded, size)) is not None]
    inside = len(shapes) - len(wrong)
    return [Finding(subject, f"{inside} of {len(shapes)} lie in the image", True)] * bool(inside) + wrong


def _check_shape(shape: Zone | Line, loaded: LoadedSite, size: tuple[int, int]) -> Finding | None:
    subject = f"{'zone' if isinstance(shape, Zone) else 'line'} {shape.name!r}"
    points = np.array(shape.points if isinstance(shape, Zone) else [shape.start, shape.end], float)
    if shape.ground:
        calibration = loaded.calibration
        return _check_on_ground(subject, points, calibration.scaled_to(size)) if calibration else None
    points = points * (scale_between(loaded.site.size or size, size) or (1.0, 1.0))
    image = shapely.box(0, 0, *size)
    outline = shapely.Polygon(points) if isinstance(shape, Zone) else shapely.LineString(points)
    if outline.within(image.buffer(1.5)):
        return None
    far = points[np.argmax(np.abs(points - np.array(size) / 2).max(1))]
    state = f"reaches to ({far[0]:.0f}, {far[1]:.0f}), the image is {size[0]}x{size[1]}"
    again = DRAW_AGAIN.format("it")
    if not outline.intersects(image):
        return Finding(subject, f"lies outside of the image: {state}", False, again)
    hint = f"{again}; if it was drawn at another size, state that as [camera] size = [W, H]"
    return Finding(subject, state, False, hint)


def _check_on_ground(subject: str, meters: F64, calibration: CameraCalibration) -> Finding | None:
    """A shape in meters should lie in the image and in the calibrated region."""
    again = "check its meters against the calibration: edgevid-demo --site FILE shows both"
    outline = shapely.segmentize(shapely.LineString(np.vstack([meters, meters[:1]])), 1.0)
    pixels = calibration.to_image(np.array(outline.coords))
    visible = np.asarray(np.isfinite(pixels).all(1))
    visible[visible] = shapely.contains_xy(shapely.box(0, 0, *calibration.size), pixels[visible])
    if not visible.any():
        return Finding(subject, "no part of it is in the image", False, again)
    held = np.zeros(len(pixels), bool)
    held[visible] = calibration.contains(pixels[visible])
    if held.mean() >= MIN_HELD:
        return None
    state = f"only {100 * held.mean():.0f} % of its outline is in the calibrated region"
    return Finding(subject, state, False if held.mean() < MIN_OUTLINE else None, again)


def _check_recordings(found: list[Finding], table: RecordTable) -> None:
    """The folder, and whether something limits it that its disk can hold."""
    _check_output(found, "recordings", table.folder)
    disk = shutil.disk_usage(_nearest(table.folder))
    if table.max_gb is None and table.keep_days is None and table.continuous:
        state = f"no limit: they fill the disk ({disk.free / 1e9:.0f} GB are free), then the oldest go"
        found.append(Finding("recordings", state, None, "[record] max_gb = 50 or keep_days = 7 sets one"))
    elif table.max_gb is not None and table.max_gb * 1e9 > disk.total:
        state = f"max_gb is {table.max_gb:g}, the disk has {disk.total / 1e9:.0f} GB"
        found.append(Finding("recordings", state, None, "lower max_gb, or record to a larger disk"))


def _check_output(found: list[Finding], subject: str, path: Path) -> None:
    attempt(found, subject, lambda: _check_path(path, "folder"), f"mkdir -p {path}; chown USER {path}", str)


def check_sink(found: list[Finding], table: Any, camera: str) -> None:
    """Adds what a table [[sink]] is found to be; nothing is written, and no running service is disturbed."""
    path, subject = getattr(table, "path", None), f"sink {table.type}"

    def ask() -> str:
        if path is not None:
            return _check_path(path, table.type)
        sink = table.sink(0)
        if hasattr(sink, "open"):
            sink.open(Header(camera))
        try:
            return f"{sink.name}: {sink.check()}"
        except SourceError as error:
            raise SourceError(f"{sink.name}: {error}") from None
        finally:
            sink.close()

    server = "correct it, or start the server; until then events wait in the spool"
    attempt(found, subject, ask, server if path is None else "correct its path", str)


def _nearest(path: Path) -> Path:
    """The path, or the first of its parents that exists."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _check_path(path: Path, kind: str) -> str:
    """What is at a path; SourceError or InputError where it cannot be written."""
    near = _nearest(path)
    if kind in FOLDERS:
        check_folder(path)
    elif not path.absolute().parent.is_dir():
        raise SourceError(f"{path}: the folder {path.parent} does not exist; create it first")
    else:
        check_file(path)
    if not os.access(near, os.W_OK):
        raise SourceError(f"{near}: cannot be written by this user; give the service's user the right to")
    if kind == "sqlite" and path.exists() and path.stat().st_size:
        with open_database(path, "immutable=1"):  # makes no files next to it
            pass
    free = shutil.disk_usage(near).free
    if free < LEAST_FREE:
        raise SourceError(f"{path}: {free // 1_000_000} MB are free on its disk; free more space")
    return f"{path} can be written"

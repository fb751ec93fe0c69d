"""Is a site file fit to be run: every part of it, against the others and against the stream's image."""

from __future__ import annotations

import os
import time as clock
from pathlib import Path

import numpy as np
import shapely

from edgevid.abstain.file import read_policy
from edgevid.detect.detector import Detector
from edgevid.errors import EdgevidError, masked
from edgevid.models.hub import find_recipe
from edgevid.site.build import build_recognition, build_zones
from edgevid.site.check_camera import check_camera
from edgevid.site.file import Site, read_site
from edgevid.site.findings import Finding, attempt
from edgevid.speed.calibration import CameraCalibration, scale_between
from edgevid.speed.calibration_file import read_calibration
from edgevid.types import Array, Frame
from edgevid.video.open import open_video
from edgevid.zones import Line, Zone

TRIED = 10
"""Images that the model is timed on."""


def check_site(path: Path, *, source: str = "", watch_s: float = 5.0) -> list[Finding]:
    """What was found, in the order of the file; `source` takes the place of the file's own."""
    found: list[Finding] = []
    site = attempt(
        found, "file", lambda: read_site(path), "correct the file: docs/site.md says what may stand there"
    )
    if site is None:
        return found
    found.append(Finding("file", f"{path.name} is read", True))
    address = source or site.source
    found += _secrecy(path, site.source)
    frame = _look(found, address, watch_s)
    detector = _detector(found, site)
    if detector is not None and frame is not None:
        found.append(_pace(detector, frame, _rate_of(found)))
    if detector is not None:
        found += _policy(site, detector)
    size = frame.size if frame is not None else site.size
    calibration = _calibration(found, site, size)
    for choice in site.recognizers:
        what = f"recognizer {choice.task}"
        remedy = "docs/actions.md: how a recognizer is made, and what its policy is tuned on"
        if attempt(found, what, lambda: build_recognition(choice), remedy) is not None:  # noqa: B023
            found.append(
                Finding(
                    what,
                    f"{choice.model} with {'its policy' if choice.policy else 'the default policy'}",
                    True,
                )
            )
    found += _places(site, size, calibration)
    if site.health is not None:
        found.append(_folder("camera health", site.health))
    return found


def _secrecy(path: Path, source: str) -> list[Finding]:
    """A file with a password in it should be its owner's alone."""
    if masked(source) == source:
        return []
    if path.stat().st_mode & 0o077:
        return [
            Finding("secrecy", "the file holds a password and others may read it", False, f"chmod 600 {path}")
        ]
    return [Finding("secrecy", "only its owner reads the file's password", True)]


def _look(found: list[Finding], address: str, watch_s: float) -> Frame | None:
    """One image of the source, with findings about it."""
    if not address:
        found.append(
            Finding(
                "source",
                "none is named",
                None,
                'write source = "..." at the top, or give it to `edgevid run`',
            )
        )
        return None
    try:
        video = open_video(address)
    except EdgevidError as error:
        found.append(
            Finding(
                "source",
                str(error),
                False,
                "check the path; relative ones count from where the program is started",
            )
        )
        return None
    with video:
        if not video.live:
            frame = next(iter(video), None)
            size = f"{video.size[0]}x{video.size[1]}"
            found.append(Finding("source", f"{masked(address)}: {size}", True))
            return frame
    seen, frame = check_camera(address, watch_s=watch_s)
    found += seen
    return frame


def _rate_of(found: list[Finding]) -> float | None:
    """Images a second of a camera that was watched."""
    words = next((f.state for f in found if f.what == "rate"), "")
    return float(words.split()[0]) if words and words[0].isdigit() else None


def _detector(found: list[Finding], site: Site) -> Detector | None:
    remedy = "`edgevid models list` shows the names; `edgevid models get NAME` fetches one"

    def load() -> Detector:
        return Detector.load(
            site.model,
            device=site.device,
            precision=site.precision,
            score_threshold=site.score,
            classes=site.classes or None,
        )

    detector = attempt(found, "model", load, remedy)
    if detector is None and site.model and site.classes:
        names = _names(site.model)
        unknown = [name for name in site.classes if names and name not in names]
        if unknown:
            known = f"it knows {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            found[-1] = Finding(
                "classes", f"{site.model} knows no {', '.join(map(repr, unknown))}", False, known
            )
    if detector is not None:
        chosen = ", ".join(site.classes) or f"all its {len(detector.names)} classes"
        found.append(Finding("model", f"{detector.recipe.name}: {chosen}", True))
    return detector


def _names(model: str) -> tuple[str, ...]:
    try:
        return find_recipe(model).names
    except EdgevidError:
        return ()


def _pace(detector: Detector, frame: Frame, rate: float | None) -> Finding:
    """How long the model takes for this image, beside the camera's pace."""
    detector.detect([frame])
    begun = clock.perf_counter()
    for _ in range(TRIED):
        detector.detect([frame])
    spent = (clock.perf_counter() - begun) / TRIED
    words = f"{1000 * spent:.0f} ms/frame"
    if rate is None or spent < 0.8 / rate:
        return Finding("pace", words + (f", {1000 / rate:.0f} ms apart" if rate else ""), True)
    remedy = "images will be dropped (and counted): a smaller model, a lower camera rate, or a faster machine"
    return Finding("pace", f"{words}, but they come {1000 / rate:.0f} ms apart", None, remedy)


def _policy(site: Site, detector: Detector) -> list[Finding]:
    if site.policy is None:
        return []
    found: list[Finding] = []
    path = site.policy

    def fits() -> bool:
        read_policy(path).must_fit(names=detector.names, model_sha256=None)
        return True

    if attempt(found, "policy", fits, "tune it again with this model: `edgevid tune` (docs/abstain.md)"):
        found.append(Finding("policy", f"{path.name} fits the model's classes", True))
    return found


def _calibration(found: list[Finding], site: Site, size: tuple[int, int] | None) -> CameraCalibration | None:
    """The calibration for the stream's size."""
    if site.calibration is None:
        return None
    path, remedy = site.calibration, "calibration the camera again: docs/speed.md"
    calibration = attempt(found, "calibration", lambda: read_calibration(path), remedy)
    if calibration is None:
        return None
    made_on = f"{calibration.size[0]}x{calibration.size[1]}"
    fitted = attempt(found, "calibration", lambda: calibration.scaled_to(size or calibration.size), remedy)
    if fitted is None:
        return None
    error = float(np.median(calibration.error_px()))
    words = f"{path.name}, made on {made_on}, {len(calibration.image)} points, median error {error:.1f} px"
    scaled = size is not None and size != calibration.size
    found.append(
        Finding("calibration", words + (f", scaled to {size[0]}x{size[1]}" if scaled and size else ""), True)
    )
    return fitted


def _places(site: Site, size: tuple[int, int] | None, calibration: CameraCalibration | None) -> list[Finding]:
    """Zones and lines: where they lie on the image."""
    places: list[Zone | Line] = [*site.zones, *site.lines]
    if not places:
        return []
    found: list[Finding] = []
    if size is None:
        return [
            Finding(
                "zones and lines",
                f"{len(places)}, not compared with any image",
                None,
                "make the source reachable",
            )
        ]
    remedy = "draw them again: edgevid-demo --site FILE"
    if attempt(found, "zones and lines", lambda: build_zones(site, size), remedy) is None:
        return found
    wrong = [finding for place in places if (finding := _place(place, site, size, calibration)) is not None]
    inside = len(places) - len(wrong)
    good = [Finding("zones and lines", f"{inside} of {len(places)} lie in the image", True)] if inside else []
    return found + good + wrong


def _place(
    place: Zone | Line, site: Site, size: tuple[int, int], calibration: CameraCalibration | None
) -> Finding | None:
    """What is wrong with where one zone or line lies; None where nothing is."""
    kind = "zone" if isinstance(place, Zone) else "line"
    points = np.array(place.points if isinstance(place, Zone) else [place.start, place.end], float)
    what, picture = f"{kind} {place.name!r}", shapely.box(0, 0, *size)
    again = "draw it again: edgevid-demo --site FILE"
    if place.ground:
        if calibration is None:
            return None  # the calibration's own finding says why
        return _ground_place(what, points, picture, calibration)
    points = points / np.array(scale_between(size, site.size or size) or (1, 1))
    shape = shapely.Polygon(points) if isinstance(place, Zone) else shapely.LineString(points)
    if shape.within(picture.buffer(1.5)):
        return None
    far = points[np.argmax(np.abs(points - np.array(size) / 2).max(1))]
    words = f"reaches to ({far[0]:.0f}, {far[1]:.0f}), the image is {size[0]}x{size[1]}"
    if not shape.intersects(picture):
        return Finding(what, f"lies outside of the image: {words}", False, again)
    hint = f"{again}; if it was drawn on another size, write it as [camera] size = [W, H]"
    return Finding(what, words, False, hint)


def _ground_place(
    what: str, meters: Array, picture: shapely.Polygon, calibration: CameraCalibration
) -> Finding | None:
    """A place in meters should be seen, and best where the calibration holds."""
    again = "check its meters against the calibration: edgevid-demo --site FILE shows both"
    edge = shapely.segmentize(shapely.LineString(np.vstack([meters, meters[:1]])), 1.0)
    pixels = calibration.to_image(np.array(edge.coords))
    seen = np.isfinite(pixels).all(1)
    inside = np.zeros(len(pixels), bool)
    inside[seen] = shapely.contains_xy(picture, pixels[seen, 0], pixels[seen, 1])
    if not inside.any():
        return Finding(what, "no part of it is in the image", False, again)
    held = np.zeros(len(pixels), bool)
    held[inside] = calibration.contains(pixels[inside])
    if held.mean() < 0.5:
        share = 100 * held.mean()
        return Finding(
            what,
            f"only {share:.0f} % of its edge is where the calibration holds",
            False if share < 10 else None,
            again,
        )
    return None


def _folder(what: str, path: Path) -> Finding:
    if path.is_dir() and not os.access(path, os.W_OK):
        return Finding(
            what, f"{path} cannot be written", False, f"give the service's user the folder: chown USER {path}"
        )
    if not path.exists() and not path.parent.is_dir():
        return Finding(what, f"{path.parent} does not exist", False, f"mkdir -p {path.parent}")
    return Finding(what, f"{path} is kept", True)

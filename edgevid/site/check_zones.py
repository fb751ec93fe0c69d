"""Checks of zones and lines: whether they lie in the image, and in the calibrated part of the ground."""

from __future__ import annotations

import numpy as np
import shapely

from edgevid.site.build import build_zones
from edgevid.site.findings import Finding, attempt
from edgevid.site.load import LoadedSite
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import F64, scale_between
from edgevid.zones import Line, Zone

DRAW_AGAIN = "draw {} again: edgevid-demo --site FILE"
MIN_HELD, MIN_OUTLINE = 0.5, 0.1
"""Shares of an outline in the calibrated region below which a zone is a note, and below which an error."""


def check_zones(loaded: LoadedSite, size: tuple[int, int] | None) -> list[Finding]:
    """Where zones and lines lie on frames of `size` (None: there was no frame)."""
    shapes: list[Zone | Line] = [*loaded.site.zones, *loaded.site.lines]
    if not shapes:
        return []
    subject = "zones and lines"
    if size is None:
        state = f"{len(shapes)}, not compared with any image"
        return [Finding(subject, state, None, "make the source reachable")]
    found: list[Finding] = []
    if attempt(found, subject, lambda: build_zones(loaded, size), DRAW_AGAIN.format("them")) is None:
        return found
    wrong = [finding for shape in shapes if (finding := _check(shape, loaded, size)) is not None]
    inside = len(shapes) - len(wrong)
    return [Finding(subject, f"{inside} of {len(shapes)} lie in the image", True)] * bool(inside) + wrong


def _check(shape: Zone | Line, loaded: LoadedSite, size: tuple[int, int]) -> Finding | None:
    """What is wrong with the position of one zone or line; None where nothing is."""
    kind = "zone" if isinstance(shape, Zone) else "line"
    subject = f"{kind} {shape.name!r}"
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
    hint = f"{again}; if it was drawn on another size, write it as [camera] size = [W, H]"
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

"""A site: one camera's source, model, calibration, recognizers, zones and lines, read from one TOML file.

docs/site.md describes the file. Paths in it are relative to the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from edgevid.errors import InputError, SourceError
from edgevid.files.atomic import write_atomic
from edgevid.files.toml import Section, read_toml, toml_table
from edgevid.runtime.recipe import Precision
from edgevid.speed.contact import CONTACTS, Contact
from edgevid.speed.estimator import METHODS, Method
from edgevid.zones import Line, Zone

_HEADER = re.compile(r"\s*\[\[?\s*[\w.\"'-]+(\s*\.\s*[\w\"'-]+)*\s*\]\]?\s*(#.*)?$")
"""A table's header; a row of points inside an array has a comma and is none."""
_ZONE_HEADER = re.compile(r"\s*\[\[\s*(zone|line)\s*\]\]")
FARTHEST = 1e6
"""No corner of a zone is farther from the origin, in pixels or meters."""


@dataclass(frozen=True, slots=True)
class RecognizerChoice:
    """One recognition task of each object."""

    task: str
    """Name of the task, the key of its verdicts: "action", "emotion", ..."""
    model: str
    """Name or path of the recognizer's recipe."""
    policy: Path | None = None
    """Abstain policy of `edgevid tune`; None: the default one."""


@dataclass(frozen=True, slots=True)
class Site:
    """The configuration of one camera; files are paths here, `load_site` reads them."""

    source: str = ""
    model: str | None = None
    """Name or path of the detector; None takes the default."""
    score: float = 0.4
    """track_high_thresh of the tracker; a new track needs 0.1 more."""
    classes: tuple[str, ...] = ()
    """Only these classes; empty: all."""
    device: str = "auto"
    precision: Precision = "fp32"
    calibration: Path | None = None
    """Camera calibration of calibration/camera; None: no speeds."""
    speed_method: Method = "filter"
    """How speeds are measured: "filter", "displacement" or "window" (docs/speed.md)."""
    contact: Contact = "bottom"
    """Where an object touches the ground: "bottom" of its box, or "footprint", its center."""
    road_deg: float = 90.0
    """Direction of the road on the calibrated plane, for contact "footprint"; 90 is along +y."""
    size: tuple[int, int] | None = None
    """(width, height) of the frames that zones and lines were drawn on; None: the stream's."""
    health: Path | None = None
    """Folder of camera health; None: it is not used."""
    policy: Path | None = None
    """Abstain policy of the detector's classes; its [speed] table limits speeds."""
    recognizers: tuple[RecognizerChoice, ...] = ()
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        shapes: list[Zone | Line] = [*self.zones, *self.lines]
        if self.calibration is None and any(shape.ground for shape in shapes):
            raise InputError("zones and lines in meters need a calibrated camera: give [camera] calibration")


def read_site(path: str | Path) -> Site:
    """The site of a TOML file (docs/site.md); FileFormatError names file, key, expected and got.

    InputError where there is no such file.
    """
    top = read_toml(path)
    path = top.path
    detect, camera = top.table("detect", optional=True), top.table("camera", optional=True)
    site = Site(
        source=top.text("source", ""),
        model=_model(path, detect),
        score=detect.number("score", 0.4, low=0, high=1),
        classes=detect.texts("classes", ()),
        device=detect.text("device", "auto"),
        precision=detect.text("precision", "fp32", choices=get_args(Precision)),
        calibration=_file(path, camera, "calibration"),
        speed_method=camera.text("speed_method", "filter", choices=METHODS),
        contact=camera.text("contact", "bottom", choices=CONTACTS),
        road_deg=camera.number("road_deg", 90.0),
        size=_size(camera),
        health=path.parent / camera.text("health") if "health" in camera else None,
        policy=_file(path, top, "policy"),
        recognizers=tuple(_recognizer(path, table) for table in top.tables("recognize", optional=True)),
        zones=tuple(_zone(table) for table in top.tables("zone", optional=True)),
        lines=tuple(_line(table) for table in top.tables("line", optional=True)),
    )
    for table in (detect, camera, top):
        table.done()
    return site


def write_zones(path: Path, zones: tuple[Zone, ...], lines: tuple[Line, ...], *, header: str = "") -> None:
    """Replaces the zones and lines of a site file, at its end, and keeps everything else in it.

    `header` starts a file that does not exist yet. The file is replaced in one step. Comments between or
    inside the old zones and lines are deleted with them.
    """
    kept, inside = [], False
    for text in (path.read_text(encoding="utf-8") if path.exists() else header).splitlines():
        if _HEADER.match(text):
            inside = bool(_ZONE_HEADER.match(text))
        if not inside:
            kept.append(text)
    while kept and not kept[-1].strip():
        kept.pop()
    for zone in zones:
        kept += toml_table("[zone]", _zone_values(zone))
    for line in lines:
        kept += toml_table("[line]", _line_values(line))
    try:
        write_atomic(path, "\n".join(kept).lstrip("\n") + "\n")
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror}; check the permissions") from None


def _model(path: Path, detect: Section) -> str | None:
    """A model's name, or a path relative to the site file."""
    value = detect.text("model", "")
    local = path.parent / value
    return str(local) if value and local.exists() else value or None


def _file(path: Path, table: Section, key: str) -> Path | None:
    value = table.text(key, "")
    if not value:
        return None
    found = path.parent / value
    if not found.is_file():
        table.fail(key, "an existing file, relative to the site file", value)
    return found


def _size(camera: Section) -> tuple[int, int] | None:
    value = camera.raw("size")
    if value is None:
        return None
    pair = isinstance(value, list) and len(value) == 2
    if not pair or not all(type(v) is int and 0 < v < FARTHEST for v in value):
        camera.fail("size", "[width, height] in pixels", value)
    return value[0], value[1]


def _recognizer(path: Path, table: Section) -> RecognizerChoice:
    choice = RecognizerChoice(
        task=table.text("task", "action"),
        model=_model(path, table) or table.text("model"),
        policy=_file(path, table, "policy"),
    )
    table.done()
    return choice


def _zone(table: Section) -> Zone:
    name, ground = table.text("name"), table.flag("ground", False)
    value = table.raw("points")
    if not isinstance(value, list):
        table.fail("points", "points [[x, y], ...]", value)
    points = [_point(table, "points", point) for point in value]
    optional = {key: table.number(key, low=0) for key in ("dwell_s", "stopped_s") if key in table}
    if "direction" in table:
        optional["direction"] = table.number("direction", low=-360, high=360)
    debounce = table.number("debounce_s", Zone.debounce_s, low=0)
    table.done()
    try:
        return Zone(name, points, ground, debounce_s=debounce, **optional)
    except InputError:
        table.fail("points", "at least 3 corners of a polygon that does not cross itself", points)


def _line(table: Section) -> Line:
    name, ground = table.text("name"), table.flag("ground", False)
    start, end = (_point(table, key, table.raw(key)) for key in ("start", "end"))
    table.done()
    try:
        return Line(name, start, end, ground)
    except InputError:
        table.fail("end", "a point other than the start", end)


def _point(table: Section, key: str, value: Any) -> tuple[float, float]:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    if not numbers or not all(abs(v) < FARTHEST for v in value):
        table.fail(key, f"points [x, y], each less than {FARTHEST:g} from 0", value)
    return float(value[0]), float(value[1])


def _zone_values(zone: Zone) -> dict[str, object]:
    return {
        "name": zone.name,
        "points": [_rounded(point) for point in zone.points],
        "ground": zone.ground or None,
        "dwell_s": zone.dwell_s,
        "stopped_s": zone.stopped_s,
        "direction": zone.direction,
        "debounce_s": zone.debounce_s if zone.debounce_s != Zone.debounce_s else None,
    }


def _line_values(line: Line) -> dict[str, object]:
    ends = {"start": _rounded(line.start), "end": _rounded(line.end)}
    return {"name": line.name, **ends, "ground": line.ground or None}


def _rounded(point: tuple[float, float]) -> list[float]:
    return [round(float(v), 2) for v in point]

"""A site: one camera's source, model, calibration, recognizers, zones and lines, read from one TOML file. docs/site.md
describes the file. Paths in it are relative to the file."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from edgevid.detect.gate import EXPECTED, MAX_GAP_S, THRESHOLD, Every, parse_every
from edgevid.errors import FieldError, FileFormatError, InputError, masked
from edgevid.files import Count, Positive, Share, atomic_path, edit_toml, make_folder, read_toml, toml_text
from edgevid.files.atomic import claim
from edgevid.files.folders import expanded
from edgevid.files.schema import Checked, checked, pick, vars_of
from edgevid.output.recordings import Recorder
from edgevid.runtime.recipe import Precision
from edgevid.site.tables import File, Folder, RecordTable, SinkTable, TrackTable
from edgevid.speed.abstain import Contact
from edgevid.speed.estimator import Method
from edgevid.video.open import is_live
from edgevid.zones import Line, Zone

WAIT_S = 10.0  # For another program that writes a site file


def _local_source(text: str, folder: Path) -> str:
    return text if not text or text.isdecimal() or "://" in text else str(folder / text)


def _local_model(text: str, folder: Path) -> str:
    local = folder / text
    return str(local) if text and (local.exists() or Path(text).suffix or "/" in text) else text


Model = Annotated[str, Checked("a model's name, or a path relative to the site file", _local_model)]
Source = Annotated[str, Checked("a stream, camera number, or path relative to the file", _local_source)]


@dataclass(frozen=True, slots=True)
class RecognizerChoice:
    """One recognition task of each object."""

    task: str  # Name of the task, the key of its verdicts: "action", "emotion" and others
    model: Model  # Name or path of the recognizer's recipe
    policy: File | None = None  # Abstain policy of `edgevid tune`; None: the default one
    inside: Model = ""  # Detector of what is recognized inside each object, such as "yunet" for faces; empty: all of it
    classes: tuple[str, ...] = ()  # Classes of the objects that are recognized; empty: all


@dataclass(frozen=True, slots=True)
class Site:
    """The configuration of one camera; files are paths here, `load_site` reads them."""

    source: Source = ""  # What `open_video` opens: a stream, a camera, a file or a folder
    model: Model | None = None  # Name or path of the detector; None takes the default
    every: Annotated[Every, Checked(EXPECTED, lambda value, _: parse_every(value))] | None = None
    """Frames, seconds or "auto": the detector skips frames that need none (docs/pipeline.md); None: it skips none."""
    gate_threshold: Positive = THRESHOLD  # "auto": a change by so many times the usual one needs a detection
    max_gap_s: Positive = MAX_GAP_S  # "auto": seconds without a change until the next detection
    score: Share = 0.4  # track_high_thresh of the tracker; a new track needs 0.1 more
    track: TrackTable = TrackTable()  # The tracker and its settings
    classes: tuple[str, ...] = ()
    """Only these classes; empty: people and vehicles where the model has others too; ["all"]: all."""
    device: str = "auto"  # auto, cpu or cuda:0
    precision: Precision = "fp32"  # fp32, fp16 or int8: of the engine that is loaded
    calibration: File | None = None  # Camera calibration of calibration/camera; None: no speeds
    speed_method: Method = "filter"  # How speeds are measured: "filter", "displacement" or "window" (docs/speed.md)
    speed_interval: Count | None = None  # Frames of a displacement: method "displacement"; None: a third of a second
    speed_smoothing: Count = 3  # Displacements of which the moving average is taken: method "displacement"
    speed_window_s: Annotated[float, Ge(0.3)] = 1.0  # Seconds of the window: method "window"
    grid_m: Positive | None = None  # Side of the drawn grid's cells in meters; None: round meters that fit the region
    contact: Contact = "bottom"  # Where an object touches the ground: "bottom" of its box, or "footprint", its center
    road_deg: float = 90.0  # Direction of the road on the calibrated plane, for contact "footprint"; 90 is along +y
    size: Annotated[tuple[Count, Count], Checked("[width, height] in pixels")] | None = None
    """(width, height) of the frames that zones and lines were drawn on; None: the stream's."""
    clusters: File | None = None
    """Clusters of tracks that were named: each track that ends is labeled by them (docs/cluster.md)."""
    health: Folder | None = None  # Folder of camera health; None: it is not used
    quality: bool = True  # Whether verdicts abstain in images that are dark, blurred, overexposed or damaged
    blur: tuple[str, ...] = ()
    """What is pixelated in all images that leave: classes, "face", "plate" (docs/recordings.md)."""
    face_model: File | None = None  # A YuNet that finds the faces to blur; None: the upper part of each person is
    policy: File | None = None  # Abstain policy of the detector's classes; its [speed] table limits speeds
    recognizers: tuple[RecognizerChoice, ...] = ()
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    name: str = ""  # Name of the camera in events and records; empty: that of the site file
    speed_limit_kmh: Positive | None = None
    """A "speed-limit" event for objects that are faster by more than the standard error allows."""
    sinks: tuple[SinkTable, ...] = ()
    record: RecordTable | None = None  # What is recorded; None: nothing

    def __post_init__(self) -> None:
        _check_ground([*self.zones, *self.lines], self.calibration)

    def recorder(self, *, unit: str = "km/h") -> Recorder | None:
        """The recorder of the camera, None where nothing is recorded; SourceError where its folder cannot be made."""
        if self.record is None:
            return None
        options, name = vars_of(self.record), self.name or camera_name(self.source)
        max_bytes = round(1e9 * size) if (size := options.pop("max_gb")) else None
        return Recorder(**options, camera=name, max_bytes=max_bytes, live=is_live(self.source), unit=unit)


def _check_ground(shapes: list[Zone | Line], calibration: Path | None) -> None:
    if calibration is None and any(shape.ground for shape in shapes):
        raise FieldError("site", "camera.calibration", "a calibration, which zones and lines in meters need")


Detect: Any = pick(Site, "Detect", ("model", "score", "classes", "device", "precision", "every", "gate_threshold",
                                    "max_gap_s"))  # fmt: skip
Camera: Any = pick(Site, "Camera", ("name", "calibration", "speed_method", "speed_interval", "speed_smoothing",
                                    "speed_window_s", "grid_m", "contact", "road_deg", "size", "clusters", "health",
                                    "quality", "blur", "face_model", "speed_limit_kmh"))  # fmt: skip
Recognize: Any = pick(RecognizerChoice, "Recognize", ("task", "model", "policy", "inside", "classes"), task="action")
Top: Any = pick(Site, "Top", ("source", "policy"))


@dataclass(frozen=True, kw_only=True)
class SiteFile(Top):  # type: ignore[misc]
    """One camera: its source, model, calibration, recognizers, zones and lines."""

    detect: Detect = Detect()  # Which model detects which objects
    camera: Camera = Camera()  # Where the camera stands, and how speeds are measured
    track: TrackTable = TrackTable()  # The tracker and its settings
    recognize: tuple[Recognize, ...] = ()  # One recognition task of each object
    zone: tuple[Zone, ...] = ()  # Polygons, and the events that they emit
    line: tuple[Line, ...] = ()  # Lines whose crossings are counted
    sink: tuple[SinkTable, ...] = ()  # Where events and records go
    record: RecordTable | None = None  # What is recorded of the camera's own stream

    def __post_init__(self) -> None:
        _check_ground([*self.zone, *self.line], self.camera.calibration)
        places = [str(getattr(one, "path", "") or vars_of(one)["url"]) for one in self.sink]
        tasks = [one.task for one in self.recognize]
        names = [one.name for one in self.zone] + [one.name for one in self.line]
        for key, words, expected in (
            ("sink", places, "another path or url in each"), ("recognize", tasks, "another task in each"),
            ("zone" if self.zone else "line", names, "zones and lines with different names"),
        ):  # fmt: skip
            if twice := sorted({word for word in words if words.count(word) > 1}):
                raise FieldError("site", key, expected, twice)


def read_site(path: str | Path) -> Site:
    """The site of a TOML file (docs/site.md); FileFormatError names each mistake's key, expected and got. ${NAME} and
    ${NAME:-default} in its texts are environment variables. InputError where there is no file."""
    values, path = read_toml(path), Path(path)
    if not values:
        expected = 'a site: source = "..." or a table such as [detect]'
        raise FileFormatError(path, "the whole file", expected=expected, got=None, text="it is empty")
    read = checked(SiteFile, values, path, expand=expanded)
    camera = vars_of(read.camera)
    return Site(source=read.source, policy=read.policy, **vars_of(read.detect),
                **camera | {"name": camera["name"] or path.stem}, sinks=read.sink, record=read.record, track=read.track,
                recognizers=tuple(RecognizerChoice(**vars_of(one)) for one in read.recognize), zones=read.zone,
                lines=read.line)  # fmt: skip


Shapes = dict[str, dict[str, Any]]
"""Rows of [[zone]] and [[line]] by name, each with "" for the key of its table."""


def read_shapes(path: Path) -> Shapes:
    """What a site file states of zones and lines; nothing of one that does not exist."""
    return _shapes(read_toml(path) if path.exists() else {})


def write_zones(path: Path, zones: Iterable[Zone], lines: Iterable[Line], *, header: str = "",
                before: Iterable[Iterable[Zone | Line]] = ((), ()), known: Shapes | None = None) -> Shapes:  # fmt: skip
    """Makes the zones and lines of a site file these; everything else in it stays, comments too. `header` starts a file
    that does not exist yet, which only this user may read. The file is replaced in one step.

    With what was `known` of the file, only what differs from `before` (zones, then lines) is changed, so that those of
    another page or of an editor stay; InputError where the same one was changed there. Returns what is known now."""
    pairs = (zip(("zone", "line"), some, strict=True) for some in (before, (zones, lines)))
    old, new = ({one.name: {"": kind} | _row(one) for kind, some in pair for one in some} for pair in pairs)
    merged: Shapes = {}

    def rows(values: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        found = _shapes(values)
        edited = {name for name in old | new | found if known is None or old.get(name) != new.get(name)}
        edited |= new.keys() - (known or {}).keys() - found.keys()  # which the file never had
        for name in edited if known is not None else ():
            if found.get(name) not in ((known or {}).get(name), new.get(name)):
                raise InputError(f"{path}: {name!r} was changed there meanwhile: start edgevid again, then edit it")
        merged.update({name: row for name in found | new if (row := (new if name in edited else found).get(name))})
        return {f"[{kind}]": [{key: row[key] for key in row if key} for row in merged.values() if row[""] == kind]
                for kind in ("zone", "line")}  # fmt: skip

    _write(path, rows, header)
    return read_shapes(path)  # with lists for tuples


def write_gate(path: Path, threshold: float) -> None:
    """Makes the detection of a site file gated with this threshold; everything else in it stays."""
    _write(path, lambda values: {"detect": [values.get("detect", {}) | {"every": "auto", "gate_threshold": threshold}]})


def _write(path: Path, rows: Callable[[dict[str, Any]], dict[str, list[dict[str, Any]]]], header: str = "") -> None:
    """Writes the tables that `rows` makes of the file's values, one program after another."""
    make_folder(path.parent)
    lock = claim(path.parent, wait_s=WAIT_S)
    try:
        there = path.exists()
        before = path.read_bytes() if there else b""
        made = rows(read_toml(path) if there else {})
        text = edit_toml(path, made) if there else toml_text(made, head=header)
        with atomic_path(path, mode=0o600) as new:
            new.write_bytes(text.encode())
            if (path.read_bytes() if path.exists() else b"") != before:  # an editor takes no lock
                raise InputError(f"{path}: another program wrote it at the same moment; do it again")
    finally:
        os.close(lock)


def _shapes(values: dict[str, Any]) -> Shapes:
    return {row.get("name", ""): {"": kind} | row for kind in ("zone", "line") for row in values.get(kind, ())}


def _row(shape: Zone | Line) -> dict[str, Any]:
    plain = {one.name: one.default for one in fields(shape)}
    return {key: value for key, value in vars_of(shape).items() if value != plain[key]}


def camera_name(source: str) -> str:
    """A name for a source without one: the file's, or the host and path of a stream.

    >>> camera_name("videos/gate.mp4"), camera_name("rtsp://me:secret@gate:554/ch/1?token=x")
    ('gate', 'gate-554-ch-1')
    """
    if source.isdecimal():
        return f"camera-{source}"
    if "://" not in source or source.startswith("file:"):
        return Path(source).stem or "camera"
    address = masked(source).split("://", 1)[1].rpartition("@")[2]
    return re.sub(r"[^\w.]+", "-", address.split("?")[0]).strip("-") or "camera"

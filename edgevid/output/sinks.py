"""Records: results written as JSON lines, MOTChallenge text or annotated video. docs/records.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from edgevid.errors import FileFormatError, SourceError
from edgevid.output.overlay import Overlay
from edgevid.types import Array, Frame, Reason, Result, Speeds
from edgevid.video.writer import VideoWriter

SCHEMA = "edgevid.result/1"


class Sink(Protocol):
    """Takes results as they come; `close` finishes what was begun."""

    def write(self, frame: Frame, result: Result) -> None: ...
    def close(self) -> None: ...


class _Closing:
    """A sink as a context manager."""

    def __enter__(self: Any) -> Any:
        return self

    def __exit__(self: Any, *_: object) -> None:
        self.close()


class _Text(_Closing):
    """A sink of text lines, each on its way to the disk before the next frame."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(path)

    def close(self) -> None:
        """Closes the file."""
        # After a full disk a line may still wait to be written: it was told when it came.
        with suppress(OSError):
            self._file.close()


class JsonLines(_Text):
    """One JSON object a frame and line, each on its way to the disk before the next frame: docs/records.md.

    SourceError where the file cannot be made. `read_jsonl` reads it back.
    """

    def write(self, frame: Frame, result: Result) -> None:
        """Appends the result's line."""
        line = json.dumps(as_json(result), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        self._file.write(line + "\n")
        self._file.flush()


class MotText(_Text):
    """MOTChallenge lines: frame (from 1), id, left, top, width, height, score, -1, -1, -1.

    Only objects that were seen in the frame are written, not predicted ones. SourceError where the file
    cannot be made.
    """

    def write(self, frame: Frame, result: Result) -> None:
        """Appends the objects that were seen."""
        for row in result.tracks[result.tracks.match >= 0]:
            x1, y1, x2, y2 = (float(v) for v in row.box)
            where = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
            self._file.write(f"{result.frame_index + 1},{row.id},{where},{row.score:.4f},-1,-1,-1\n")
        self._file.flush()


class AnnotatedVideo(_Closing):
    """An MP4 with the overlay drawn in; a killed program leaves one that plays up to its last two seconds.

    InputError for a name that is no MP4's, SourceError where the file cannot be made.
    """

    def __init__(self, path: str | Path, *, fps: float | None = None, overlay: Overlay | None = None) -> None:
        """`fps` is the nominal rate; the images keep their own times."""
        self._writer = VideoWriter(path, fps=fps or 25.0)
        self._overlay = overlay or Overlay()
        self.last: Array | None = None
        """The image that was drawn last."""

    def write(self, frame: Frame, result: Result) -> None:
        """Draws and appends one image."""
        self.last = self._overlay.draw(frame, result)
        self._writer.write(self.last, frame.time)

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()


def _open(path: str | Path) -> IO[str]:
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror}; choose another place") from None


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain JSON values; silences carry their reason, and no number is NaN."""
    names = result.names.get("class", ())
    speeds = {int(s.id): s for s in result.speeds.live}
    objects = []
    for track in result.tracks:
        i = int(track.id)
        one: dict[str, Any] = {
            "id": i,
            "box": [round(float(v), 2) for v in track.box],
            "class": names[track.label] if 0 <= track.label < len(names) else int(track.label),
            "score": round(float(track.score), 4),
            "seen": bool(track.match >= 0),
            "age_s": round(float(track.age), 3),
        }
        if i in speeds:
            one["speed"] = speed_json(speeds[i])
        objects.append(one)
    for task, verdicts in result.verdicts.items():
        said = {int(v.id): _verdict(v, result.names.get(task, ())) for v in verdicts}
        for one in objects:
            if one["id"] in said:
                one.setdefault("verdicts", {})[task] = said[one["id"]]
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": result.frame_index,
        "time_s": round(result.time, 4),
        "size": list(result.size),
        "objects": objects,
    }
    for key, table in (("smoothed", result.speeds.smoothed), ("track_speeds", result.speeds.track_speeds)):
        if len(table):
            line[key] = _speeds(table)
    line["ms"] = {stage: round(1000 * seconds, 3) for stage, seconds in result.timings.items()}
    return line


def _speeds(table: Speeds) -> list[dict[str, Any]]:
    return [{"id": int(row.id), "time_s": round(float(row.time), 4), **speed_json(row)} for row in table]


def speed_json(row: Any) -> dict[str, Any]:
    """One row of a Speeds table: the value with its standard error, or the reason for none."""
    reason = Reason(int(row.reason))
    if reason is not Reason.OK:
        return {"reason": reason.name}
    said = {"mps": round(float(row.mps), 4), "sigma_mps": round(float(row.sigma), 4)}
    if math.isfinite(row.heading):
        said["heading_deg"] = round(float(row.heading), 1)
    return said


def _verdict(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    confidence = round(float(row.confidence), 4) if math.isfinite(row.confidence) else 0.0
    if row.label < 0:
        return {"reason": Reason(int(row.reason)).name, "confidence": confidence}
    label: Any = names[row.label] if row.label < len(names) else int(row.label)
    return {"label": label, "confidence": confidence}


def read_jsonl(path: str | Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON-lines record; a last line that was cut off by a crash is left out.

    FileFormatError names the line of a damaged one and of another schema; SourceError where there is no file.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    with file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return
            try:
                one = json.loads(text)
            except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of a million digits
                raise FileFormatError(path, f"line {number}", expected="JSON", got=str(error)) from None
            if not isinstance(one, dict) or one.get("schema") != SCHEMA:
                given = one.get("schema") if isinstance(one, dict) else type(one).__name__
                raise FileFormatError(path, f"line {number}: schema", expected=SCHEMA, got=given)
            yield one


def to_supervision(result: Result) -> Any:
    """The tracks as supervision.Detections, for programs that draw or count with that library."""
    from edgevid.errors import require

    sv = require("supervision", extra="supervision", purpose="Conversion to supervision.Detections")
    tracks = result.tracks
    names = result.names.get("class", ())
    texts = np.array([names[k] if k < len(names) else str(k) for k in tracks.labels])
    return sv.Detections(
        xyxy=tracks.boxes.copy(),
        confidence=tracks.scores.copy(),
        class_id=tracks.labels.astype(int),
        tracker_id=tracks.ids.astype(int),
        data={"class_name": texts},
    )

"""Records: a result as plain JSON values, and the reader of recorded JSON lines. docs/records.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgevid.errors import FileFormatError, SourceError
from edgevid.types import DisplaySpeed, Reason, Result

SCHEMA = "edgevid.result/2"


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain JSON values; abstained values carry their reason, and no number is NaN."""
    speeds = result.display_speeds()
    verdicts = {
        task: {row.id: _verdict(result, task, row) for row in table}
        for task, table in result.verdicts.items()
    }
    objects = []
    for track in result.tracks:
        one: dict[str, Any] = {
            "id": track.id,
            "box": [round(v, 2) for v in track.box],
            "class": result.class_name(track.label),
            "score": round(track.score, 4),
            "detected": track.match >= 0,
            "age_s": round(track.age, 3),
        }
        if track.id in speeds:
            one["speed"] = speed_json(speeds[track.id])
        if own := {task: rows[track.id] for task, rows in verdicts.items() if track.id in rows}:
            one["verdicts"] = own
        objects.append(one)
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": result.frame_index,
        "time_s": round(result.time, 4),
        "size": list(result.size),
        "objects": objects,
    }
    for key in ("smoothed", "track_speeds"):
        if len(table := getattr(result.speeds, key)):
            line[key] = [{"id": row.id, "time_s": round(row.time, 4), **_value(row)} for row in table]
    line["timings_ms"] = {stage: round(1000 * seconds, 3) for stage, seconds in result.timings.items()}
    return line


def speed_json(speed: DisplaySpeed) -> dict[str, Any]:
    """The displayed speed: which one it is, its value, standard error and age, or the reason for none."""
    value = _value(speed)
    if speed.reason is not Reason.OK:
        return value
    return {"kind": speed.kind, **value, "age_s": round(speed.age_s, 4)}


def _value(speed: Any) -> dict[str, Any]:
    if speed.reason is not Reason.OK:
        return {"reason": speed.reason.name}
    value = {"mps": round(speed.mps, 4), "sigma_mps": round(speed.sigma, 4)}
    if math.isfinite(speed.heading):
        value["heading_deg"] = round(speed.heading, 1)
    return value


def _verdict(result: Result, task: str, row: Any) -> dict[str, Any]:
    confidence = round(row.confidence, 4) if math.isfinite(row.confidence) else 0.0
    if row.label < 0:
        return {"reason": row.reason.name, "confidence": confidence}
    return {"label": result.class_name(row.label, task), "confidence": confidence}


def read_jsonl(path: str | Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON-lines record, one per frame; skips a last line that a crash cut off.

    FileFormatError names the line that is damaged or has another schema; SourceError without a readable file.
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
                got = one.get("schema") if isinstance(one, dict) else type(one).__name__
                raise FileFormatError(path, f"line {number}: schema", expected=SCHEMA, got=got)
            yield one

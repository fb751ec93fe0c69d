"""Records: a result as plain JSON values, and the reader of recorded JSON lines. docs/records.md."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import FileFormatError, InputError
from edgevid.output.lines import read_lines
from edgevid.types import Event, Reason, Result
from edgevid.types.event import EVENT_SCHEMA, HEADER_SCHEMA, utc_text
from edgevid.types.rows import object_rows, speed_rows

orjson_dumps: Callable[[Any], bytes] | None = None
with contextlib.suppress(ImportError):
    import orjson

    orjson_dumps = orjson.dumps

SCHEMA = "edgevid.result/3"
OLDER = ("edgevid.result/1", "edgevid.result/2")
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain JSON values; abstained values carry their reason, and no number is NaN."""
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": result.frame_index,
        "time_s": round(result.time, 4),
        **({"utc": utc_text(result.utc)} if result.utc == result.utc else {}),  # NaN outside of a run
        "size": list(result.size),
        "objects": object_rows(result),
    }
    if result.events:
        line["events"] = [event.to_dict() for event in result.events]
    for key in ("smoothed", "track_speeds"):
        if len(table := getattr(result.speeds, key)):
            line[key] = speed_rows(table)
    if result.damaged:
        line["damaged"] = True
    if result.image is not Reason.OK:
        line["image"] = result.image.name
    line["timings_ms"] = {stage: round(1000 * seconds, 3) for stage, seconds in result.timings.items()}
    return line


def as_line(result: Result) -> str:
    """The result as one line of a record; orjson writes it where it is installed, in less time.

    InputError where a box, score or age of a track is NaN or infinite.
    """
    tracks = result.tracks
    for name in ("boxes", "scores", "age"):
        if not np.isfinite(values := getattr(tracks, name)).all():
            row = int(np.nonzero(~np.isfinite(values))[0][0])
            raise InputError(f"record: expected finite {name}, got {values[row]} for track {tracks.ids[row]}")
    return json_line(as_json(result))


def json_line(values: Any) -> str:
    """Plain values as one line of JSON."""
    return (orjson_dumps(values).decode() if orjson_dumps else _encode(values)) + "\n"


def read_jsonl(path: str | Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON-lines record, one per frame, of older schemas as of today's.

    Torn and zero-filled lines are left out and reported by a warning. FileFormatError names the line that is
    damaged or has another schema; SourceError without a readable file.
    """
    for number, one in read_lines(path):
        schema = one.get("schema")
        if schema in (HEADER_SCHEMA, EVENT_SCHEMA):
            continue
        if schema not in (SCHEMA, *OLDER):
            raise FileFormatError(path, f"line {number}: schema", expected=SCHEMA, got=schema)
        yield upgraded(one)


def read_events(path: str | Path) -> Iterator[Event]:
    """The events of JSON lines, of events or of records; errors as of `read_jsonl`."""
    for number, one in read_lines(path):
        found = [one] if one.get("schema") == EVENT_SCHEMA else one.get("events", ())
        try:
            yield from map(Event.of, found)
        except (TypeError, AttributeError) as error:
            raise FileFormatError(path, f"line {number}", expected=EVENT_SCHEMA, got=str(error)) from None


def read_header(path: str | Path) -> Mapping[str, Any]:
    """The latest header of JSON lines, {} where there is none; errors as of `read_jsonl`."""
    return next((one for _, one in reversed([*read_lines(path)]) if one.get("schema") == HEADER_SCHEMA), {})


def upgraded(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record of an older schema as one of today's."""
    schema = one["schema"]
    if schema == SCHEMA:
        return one
    made = {**one, "schema": SCHEMA}
    if schema == OLDER[0]:
        made["timings_ms"] = made.pop("ms", {})
        made["objects"] = [_upgraded_object(item) for item in one.get("objects", ())]
    return made


def _upgraded_object(one: Mapping[str, Any]) -> dict[str, Any]:
    """An object of edgevid.result/1, whose speed was the live one."""
    made = {"detected" if key == "seen" else key: value for key, value in one.items()}
    if "mps" in made.get("speed", ()):
        made["speed"] = {"kind": "live", **made["speed"], "age_s": 0.0}
    return made

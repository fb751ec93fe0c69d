"""Records: a result as plain JSON values, and the reader of recorded JSON lines. docs/records.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.types import Result
from edgevid.types.rows import object_rows, speed_rows

try:
    import orjson
except ImportError:
    orjson = None

SCHEMA = "edgevid.result/2"
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain JSON values; abstained values carry their reason, and no number is NaN."""
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": result.frame_index,
        "time_s": round(result.time, 4),
        "size": list(result.size),
        "objects": object_rows(result),
    }
    for key in ("smoothed", "track_speeds"):
        if len(table := getattr(result.speeds, key)):
            line[key] = speed_rows(table)
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
    made = as_json(result)
    return (orjson.dumps(made).decode() if orjson else _encode(made)) + "\n"


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

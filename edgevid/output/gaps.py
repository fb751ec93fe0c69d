"""Gaps of tracks in a finished record, filled from both sides: `edgevid run --smooth-tracks`, docs/tracking.md."""

from pathlib import Path
from typing import Any

from edgevid.files.atomic import write_atomic
from edgevid.output.records import SCHEMA, json_line, read_lines


def fill_gaps(path: Path, longest_s: float) -> int:
    """Rewrites JSON lines of a run, and returns how many boxes it set: where an object is without a detection for at
    most `longest_s` seconds, its boxes lie on the straight line between the detections before and after, and its rows
    have `interpolated`. Holds the file in memory. FileFormatError or SourceError for a file that is no record."""
    lines = [dict(one) for _, one in read_lines(path)]
    frames = [one for one in lines if one.get("schema") == SCHEMA]
    times, last, filled = [one["time_s"] for one in frames], dict[int, tuple[int, Any]](), 0
    for n, frame in enumerate(frames):
        for row in [one for one in frame["objects"] if one["detected"]]:
            before, known = last.get(row["id"], (n, row))
            span, last[row["id"]] = times[n] - times[before], (n, row)
            for m in range(before + 1, n if span <= longest_s else 0):
                share = (times[m] - times[before]) / span
                box = [round(a + share * (b - a), 2) for a, b in zip(known["box"], row["box"], strict=True)]
                rows = {one["id"]: one for one in frames[m]["objects"]}
                made = {key: known[key] for key in ("id", "box", "class", "score")} | {"detected": False}
                made |= {"age_s": round(known["age_s"] + times[m] - times[before], 3)} | rows.get(row["id"], {})
                rows[row["id"]] = made | {"box": box, "interpolated": True}
                frames[m]["objects"], filled = [rows[number] for number in sorted(rows)], filled + 1
    write_atomic(path, "".join(map(json_line, lines)))
    return filled

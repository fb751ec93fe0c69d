"""The JSON Schema of a record: one line of JSON lines, as `as_json` makes it (docs/records.md)."""

from typing import Any

from edgevid.output.records import SCHEMA

_SPEED = """mps number: Speed over the ground in m/s.
sigma_mps number: Its standard error in m/s; absent where it is unknown.
heading_deg number: Direction of travel, degrees from +x towards +y; absent at rest.
reason string: Why there is no speed: a name of Reason, and the only key then."""
_DISPLAYED = f"""{_SPEED}
kind string: Which speed it is: live or smoothed.
age_s number: How old it is, in seconds."""
_SMOOTHED = f"""id integer: The track.
time_s number: The moment that the speed holds for, in seconds.
{_SPEED}"""
_TRACK_SPEED = f"""{_SMOOTHED}
peak_mps number: Highest speed on the path in m/s.
stopped_s number: Seconds without motion.
turned_deg number: Degrees turned, left and right together."""
_VERDICT = """label string: The class that is emitted.
confidence number: Calibrated confidence, 0 to 1.
reason string: Why no class is emitted: a name of Reason, instead of the label."""
_OBJECT = """id integer: Track id, positive, unique within the run.
box array: x1, y1, x2, y2 in frame pixels.
class string: Class of the last matched detection.
score number: Its score, 0 to 1.
detected boolean: False while the position is predicted.
age_s number: Seconds since the first detection.
speed object: The displayed speed; only with a calibration.
verdicts object: By task.
mask object: COCO's run lengths: size and counts.
keypoints array: x, y in frame pixels, and confidence, of each.
rotated array: x, y, width, height in frame pixels, and radians; the center first."""
_RECORD = """schema string: Name and version of the schema.
frame integer: Index of the frame from 0.
time_s number: Seconds on the stream's clock.
utc string: The same moment in UTC: ISO 8601 with milliseconds.
size array: Width and height of the frame in pixels.
objects array: One per track.
events array: What happened since the frame before; absent where nothing did.
smoothed array: Smoothed speeds of about half a second ago; may be absent.
track_speeds array: Speeds of tracks that ended in this frame; may be absent.
image string: Why nothing can be recognized in the image: a name of Reason; absent where it is sound.
timings_ms object: Milliseconds by stage."""


def record_schema(event: dict[str, Any]) -> dict[str, Any]:
    """The schema's keys; `event` is the schema of an event."""
    record, item = _table(_RECORD), _table(_OBJECT)
    item["properties"]["speed"] |= _table(_DISPLAYED)
    item["properties"]["verdicts"] |= {"additionalProperties": _table(_VERDICT)}
    record["properties"]["schema"] |= {"const": SCHEMA}
    speeds = {"smoothed": _table(_SMOOTHED), "track_speeds": _table(_TRACK_SPEED)}
    for key, rows in {"objects": item, "events": event, **speeds}.items():
        record["properties"][key] |= {"items": rows}
    return record | {"required": ["schema", "frame", "time_s", "size", "objects"]}


def _table(lines: str) -> dict[str, Any]:
    """The keys of lines "key type: description"."""
    found = {}
    for line in lines.splitlines():
        head, _, description = line.partition(": ")
        key, kind = head.split()
        found[key] = {"description": description, "type": kind}
    return {"type": "object", "properties": found}

"""The JSON Schema of a record: one line of JSON lines, as `as_json` makes it (docs/records.md)."""

from __future__ import annotations

from typing import Any

from edgevid.output.records import SCHEMA

NUMBER, TEXT, WHOLE = {"type": "number"}, {"type": "string"}, {"type": "integer"}
NUMBERS = {"type": "array", "items": NUMBER}


def record_schema(event: dict[str, Any]) -> dict[str, Any]:
    """The schema's keys; `event` is the schema of an event, with the description of each field."""
    speed = {
        "mps": _key(NUMBER, "Speed over the ground in m/s."),
        "sigma_mps": _key(NUMBER, "Its standard error in m/s; absent where it is unknown."),
        "heading_deg": _key(NUMBER, "Direction of travel, degrees from +x towards +y; absent at rest."),
        "reason": _key(TEXT, "Why there is no speed: a name of Reason, and the only key then."),
    }
    displayed = speed | {
        "kind": _key({"enum": ["live", "smoothed"]}, "Which speed it is."),
        "age_s": _key(NUMBER, "How old it is, in seconds."),
    }
    of_track = speed | {
        "id": _key(WHOLE, "The track."),
        "time_s": _key(NUMBER, "The moment that the speed holds for, in seconds."),
    }
    verdict = {
        "label": _key(TEXT, "The class that is emitted."),
        "confidence": _key(NUMBER, "Calibrated confidence, 0 to 1."),
        "reason": _key(TEXT, "Why no class is emitted: a name of Reason, instead of the label."),
    }
    item = {
        "id": _key(WHOLE, "Track id, positive, unique within the run."),
        "box": _key(NUMBERS, "x1, y1, x2, y2 in frame pixels."),
        "class": _key(TEXT, "Class of the last matched detection."),
        "score": _key(NUMBER, "Its score, 0 to 1."),
        "detected": _key({"type": "boolean"}, "False while the position is predicted."),
        "age_s": _key(NUMBER, "Seconds since the first detection."),
        "speed": _key(_table(displayed), "The displayed speed; only with a calibration."),
        "verdicts": _key({"type": "object", "additionalProperties": _table(verdict)}, "By task."),
        "mask": _key({"type": "object"}, "COCO's run lengths: size and counts."),
        "keypoints": _key({"type": "array", "items": NUMBERS}, "x, y in frame pixels, and confidence."),
        "rotated": _key(NUMBERS, "x, y, width, height in frame pixels, and radians; the center first."),
    }
    rows = {"type": "array", "items": _table(of_track, "id", "time_s")}
    record = {
        "schema": _key({"const": SCHEMA}, "Name and version of the schema."),
        "frame": _key(WHOLE, "Index of the frame from 0."),
        "time_s": _key(NUMBER, "Seconds on the stream's clock."),
        "utc": _key(TEXT, "The same moment in UTC: ISO 8601 with milliseconds."),
        "size": _key({"type": "array", "items": WHOLE}, "Width and height of the frame in pixels."),
        "damaged": _key({"const": True}, "The frame is damaged: nothing was detected; absent in others."),
        "objects": _key({"type": "array", "items": _table(item, "id", "box", "class")}, "One per track."),
        "events": _key(
            {"type": "array", "items": {"$ref": "#/$defs/Event"}}, "What happened; may be absent."
        ),
        "smoothed": _key(rows, "Smoothed speeds of about half a second ago; may be absent."),
        "track_speeds": _key(rows, "Speeds of tracks that ended in this frame; may be absent."),
        "timings_ms": _key({"type": "object", "additionalProperties": NUMBER}, "Milliseconds by stage."),
    }
    definitions = event.get("$defs", {}) | {"Event": {k: v for k, v in event.items() if k != "$defs"}}
    return _table(record, "schema", "frame", "time_s", "size", "objects") | {"$defs": definitions}


def _key(kind: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, **kind}


def _table(keys: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": keys} | ({"required": list(required)} if required else {})

"""Objects of events with the field names of Frigate's MQTT messages, and the standard errors of speeds."""

from typing import Any

from edgevid.types import KMH, Event
from edgevid.types.event import utc_seconds

MOST_OBJECTS = 1000  # Objects that are remembered; more are none of the present


class FrigateObjects:
    """What is known of each object; source: https://docs.frigate.video/integrations/mqtt, frigate/events."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Any]] = {}

    def message(self, event: Event) -> dict[str, Any]:
        """The event's own fields; of an object also "type" (new, update, end), "before" and "after"."""
        values = event.to_dict()
        if event.track is None:
            return values
        key, ended = f"{event.run}-{event.track}", event.kind == "track-ended"
        before = self._objects.pop(key, None)
        after = _after(event, before or {"id": key}, ended)
        if not ended:
            self._objects[key] = after
        for old in list(self._objects)[:-MOST_OBJECTS]:
            del self._objects[old]
        kind = "end" if ended else "update" if before else "new"
        return values | {"type": kind, "before": before or after, "after": after}


def _after(event: Event, before: dict[str, Any], ended: bool) -> dict[str, Any]:
    """The object after an event; unknown speeds are None, not 0."""
    time, place = utc_seconds(event.utc), [event.place] if event.place else []
    score = before.get("score", 0.0) if event.confidence is None else event.confidence
    current = [one for one in before.get("current_zones", []) if [one] != place or event.kind != "leave"]
    if event.kind == "enter":
        current = sorted({*current, *place})
    entered = before.get("entered_zones", [])
    stationary = event.kind == "stopped" or (before.get("stationary", False) and event.kind not in ("cross", "leave"))
    found = {
        "id": before["id"], "camera": event.camera, "frame_time": time,
        "start_time": before.get("start_time", time - (event.seconds or 0.0 if ended else 0.0)),
        "end_time": time if ended else None,
        "label": event.class_name or before.get("label", ""),
        "sub_label": before.get("sub_label"),
        "score": score, "top_score": max(score, before.get("top_score", 0.0)),
        "false_positive": False, "has_snapshot": False, "has_clip": False,
        "current_zones": current, "entered_zones": [*entered, *(p for p in current if p not in entered)],
        "stationary": stationary, "active": not stationary,
        **{key: before.get(key) for key in ("box", "area", "ratio", "velocity_angle")},
    }  # fmt: skip
    if event.kind in ("verdict", "verdict-changed"):
        found["sub_label"] = [event.label, event.label_confidence]
    if event.box is not None:
        x1, y1, x2, y2 = found["box"] = [round(v) for v in event.box]
        found |= {"area": (x2 - x1) * (y2 - y1), "ratio": round((x2 - x1) / max(y2 - y1, 1), 3)}
    for which in ("current", "average"):
        name = f"{which}_estimated_speed"
        values = before.get(name), before.get(f"{name}_error")
        if event.speed_mps is not None and (which == "average") == event.kind.startswith("track-"):
            values = round(event.speed_mps * KMH, 2), round((event.speed_sigma_mps or 0.0) * KMH, 2)
            found["velocity_angle"] = event.speed_heading_deg
        found |= {name: values[0], f"{name}_error": values[1]}
    return found

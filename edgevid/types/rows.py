"""Rows: the objects of a result as plain Python values, each column converted at once. `object_rows` is nested,
as in a record (docs/records.md); `flat_rows` is one cell per value, for tables."""

from typing import Any

import numpy as np

from edgevid.types.table import Array
from edgevid.types.tables import Reason, Speeds, Verdicts

Result = Any  # Result of types/result.py, whose `to_dicts` gives these rows
BOX_NAMES = ("x_min", "y_min", "x_max", "y_max", "class_id", "confidence", "tracker_id")
"""The columns of a supervision.Detections in its CSVSink."""
_REASONS = {reason.value: reason.name for reason in Reason}
_OK, _UNCERTAIN = Reason.OK.value, Reason.UNCERTAIN.value


def object_rows(result: Result) -> list[dict[str, Any]]:
    """A dict per track: id, box, class, score, detected, age_s, and what there is of key points, rotated box,
    mask, speed and verdicts."""
    tracks = result.tracks
    labels = tracks.labels.tolist()
    names = {label: result.class_name(label) for label in set(labels)}
    columns = (tracks.ids.tolist(), _rounded(tracks.boxes, 2), [names[label] for label in labels],
               _rounded(tracks.scores, 4), (tracks.match >= 0).tolist(), _rounded(tracks.age, 3))  # fmt: skip
    keys = ("id", "box", "class", "score", "detected", "age_s")
    rows: list[dict[str, Any]] = [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
    if result.has_instances:
        _add_instances(rows, result)
    speeds = _displayed(result)
    verdicts = [(task, _verdicts(result, task, table)) for task, table in result.verdicts.items()]
    for row in rows:
        number = row["id"]
        if number in speeds:
            row["speed"] = speeds[number]
        if own := {task: found[number] for task, found in verdicts if number in found}:
            row["verdicts"] = own
    return rows


def _add_instances(rows: list[dict[str, Any]], result: Result) -> None:
    """Adds key points, rotated box and mask to the rows of the objects that are detected now."""
    tracks, masks = result.tracks, result.detections.masks
    names = [name for name in ("keypoints", "rotated") if getattr(tracks, name).shape[1]]
    for index, match in enumerate(tracks.match.tolist()):
        if match < 0:
            continue
        rows[index].update({name: _rounded(getattr(tracks, name)[index], 3) for name in names})
        if match < len(masks) and masks[match] is not None:
            rows[index]["mask"] = masks[match].rle(result.size)


def flat_rows(result: Result) -> list[dict[str, Any]]:
    """A dict per track with the same keys in each: `flat_kinds`, in order; None where there is no value."""
    time, blank = round(result.time, 4), dict.fromkeys(flat_kinds(result))
    rows = []
    for one, label in zip(object_rows(result), result.tracks.labels.tolist(), strict=True):
        row = blank | dict(zip(BOX_NAMES, (*one["box"], label, one["score"], one["id"]), strict=True))
        row |= {"frame": result.frame_index, "time_s": time, "class_name": one["class"]}
        row |= {"detected": one["detected"], "track_age_s": one["age_s"]}
        row |= {f"speed_{key}": value for key, value in one.get("speed", {}).items()}
        for task, verdict in one.get("verdicts", {}).items():
            row[task], row[f"{task}_confidence"] = verdict.get("label"), verdict["confidence"]
            row[f"{task}_reason"] = verdict.get("reason")
        rows.append(row)
    return rows


def flat_kinds(result: Result) -> dict[str, type]:
    """The type of each key of `flat_rows`: those of supervision's CSVSink, then the others sorted, as there.
    `speed_mps`, `speed_sigma_mps` (standard error), `speed_heading_deg`, `speed_age_s`, `speed_kind` and
    `speed_reason` are of the displayed speed; each task has `action`, `action_confidence`, `action_reason`."""
    kinds = {"frame": int, "time_s": float, "class_name": str, "detected": bool, "track_age_s": float}
    kinds |= {f"speed_{key}": float for key in ("mps", "sigma_mps", "heading_deg", "age_s")}
    kinds |= {"speed_kind": str, "speed_reason": str}
    for task in result.verdicts:
        kinds |= {task: str, f"{task}_confidence": float, f"{task}_reason": str}
    whole = ("class_id", "tracker_id")
    return {name: int if name in whole else float for name in BOX_NAMES} | dict(sorted(kinds.items()))


PATH_NAMES = ("peak_mps", "stopped_s", "turned_deg")  # Of the columns of `Speeds.path` in records


def speed_rows(speeds: Speeds) -> list[dict[str, Any]]:
    """A dict per row: id, time_s and its value with the standard error, or its reason."""
    heads = zip(speeds.ids.tolist(), _rounded(speeds.time, 4), _speeds(speeds), strict=True)
    rows = [{"id": i, "time_s": time, **value} for i, time, value in heads]
    for row, path in zip(rows, speeds.path.tolist() if speeds.path.shape[1] else (), strict=False):
        if "mps" in row:
            row |= {name: round(v, 3) for name, v in zip(PATH_NAMES, path, strict=True)}
    return rows


def _displayed(result: Result) -> dict[int, dict[str, Any]]:
    """By track id what `Result.display_speeds` gives."""
    live, smoothed = result.speeds.live, result.speeds.smoothed
    found = dict(zip(live.ids.tolist(), _speeds(live, "live", result.time), strict=True))
    uncertain = set(live.ids[live.reason == _UNCERTAIN].tolist())
    if uncertain and len(smoothed):
        rows = zip(smoothed.ids.tolist(), _speeds(smoothed, "smoothed", result.time), strict=True)
        found.update((i, value) for i, value in rows if i in uncertain and "mps" in value)
    return found


def _speeds(speeds: Speeds, kind: str = "", now: float = 0.0) -> list[dict[str, Any]]:
    """Each row's value or reason; with a kind, as a displayed speed at the time `now`."""
    made = []
    columns = (_rounded(c, 4) for c in (speeds.mps, speeds.sigma, now - speeds.time))
    rows = zip(speeds.reason.tolist(), *columns, _rounded(speeds.heading, 1), strict=True)
    for reason, mps, sigma, age, heading in rows:
        if reason != _OK:
            made.append({"reason": _REASONS[reason]})
            continue
        value: dict[str, Any] = {"kind": kind, "mps": mps} if kind else {"mps": mps}
        if sigma == sigma:  # NaN where it is unknown
            value["sigma_mps"] = sigma
        if heading == heading:  # NaN at rest
            value["heading_deg"] = heading
        if kind:
            value["age_s"] = age
        made.append(value)
    return made


def _verdicts(result: Result, task: str, table: Verdicts) -> dict[int, dict[str, Any]]:
    """By track id the label or the reason for none, and the confidence."""
    labels = table.labels.tolist()
    names = {label: result.class_name(label, task) for label in set(labels)}
    columns = table.ids.tolist(), labels, _rounded(np.nan_to_num(table.confidence), 4), table.reason.tolist()
    made = {}
    for i, label, confidence, reason in zip(*columns, strict=True):
        found = {"label": names[label]} if label >= 0 else {"reason": _REASONS[reason]}
        made[i] = {**found, "confidence": confidence}
    return made


def _rounded(column: Array, digits: int) -> list[Any]:
    return np.round(column.astype(np.float64), digits).tolist()  # type: ignore[no-any-return]

"""Trackers behind one pair of calls: `update` (boxes, scores, labels, t) returns the package's own result,
and `rows` makes x1, y1, x2, y2, id of it. Only `update` is timed: the package's own step and the
conversion of its input.

Ours, and peers called from their own packages with their own defaults; they get the frame rate where
their package has a setting for it. A peer that is not installed is left out and named.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np


class Peer(NamedTuple):
    """One tracker at work."""

    update: Callable[[np.ndarray, np.ndarray, np.ndarray, float], Any]
    rows: Callable[[Any], np.ndarray]


def _edgevid(name: str) -> Callable[[float], Peer]:
    def make(fps: float) -> Peer:
        from edgevid import track
        from edgevid.types import Detections

        tracker = getattr(track, name)()

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
            return tracker.update(Detections(boxes, scores, labels), t)

        def rows(tracks: Any) -> np.ndarray:
            detected = tracks.match >= 0
            return np.column_stack([tracks.boxes[detected], tracks.ids[detected]])

        return Peer(update, rows)

    return make


def _ultralytics(kind: str) -> Callable[[float], Peer]:
    def make(fps: float) -> Peer:
        import torch
        from ultralytics.engine.results import Boxes
        from ultralytics.trackers import BOTSORT, BYTETracker
        from ultralytics.utils import ROOT, YAML

        torch.set_num_threads(1)
        settings = YAML.load(ROOT / f"cfg/trackers/{kind}.yaml")
        if kind == "botsort":
            settings |= {"gmc_method": "none", "with_reid": False}
        tracker = (BOTSORT if kind == "botsort" else BYTETracker)(SimpleNamespace(**settings))

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
            rows = np.column_stack([boxes, scores, labels]).astype(np.float32)
            return tracker.update(Boxes(rows, (4000, 4000)))

        return Peer(update, lambda found: np.asarray(found)[:, :5] if len(found) else np.zeros((0, 5)))

    return make


def _supervision(fps: float) -> Peer:
    import supervision as sv

    tracker = sv.ByteTrack(frame_rate=round(fps))

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
        return tracker.update_with_detections(
            sv.Detections(xyxy=boxes, confidence=scores, class_id=labels.astype(int))
        )

    return Peer(update, _supervision_rows)


def _supervision_rows(found: Any) -> np.ndarray:
    if not len(found) or found.tracker_id is None:
        return np.zeros((0, 5))
    known = found.tracker_id >= 0
    return np.column_stack([found.xyxy[known], found.tracker_id[known]])


def _roboflow(name: str) -> Callable[[float], Peer]:
    def make(fps: float) -> Peer:
        import supervision as sv
        import trackers

        tracker = getattr(trackers, name)(frame_rate=fps)

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
            return tracker.update(sv.Detections(xyxy=boxes, confidence=scores, class_id=labels.astype(int)))

        return Peer(update, _supervision_rows)

    return make


def _norfair(fps: float) -> Peer:
    import norfair

    tracker = norfair.Tracker(distance_function="iou", distance_threshold=0.7)

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
        sure = scores >= 0.25
        found = [
            norfair.Detection(points=b.reshape(2, 2), scores=np.array([s, s]))
            for b, s in zip(boxes[sure], scores[sure], strict=True)
        ]
        return tracker.update(detections=found)

    def rows(objects: Any) -> np.ndarray:
        live = [[*o.estimate.ravel(), o.id] for o in objects if o.live_points.any()]
        return np.array(live).reshape(-1, 5)

    return Peer(update, rows)


def _edgefirst(fps: float) -> Peer:
    from edgefirst.tracker import ByteTrack

    tracker = ByteTrack()
    numbers: dict[str, int] = {}
    size = 4096.0  # it wants boxes in shares of the image

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
        return tracker.update(boxes / size, scores, labels.astype(np.uintp), int(t * 1e9))

    def rows(found: Any) -> np.ndarray:
        known = [
            [*(np.asarray(one.tracked_location) * size), numbers.setdefault(one.uuid, len(numbers) + 1)]
            for one in found
            if one is not None
        ]
        return np.array(known).reshape(-1, 5)

    return Peer(update, rows)


def _ioutrack(fps: float) -> Peer:
    import ioutrack

    tracker = ioutrack.ByteTrack()

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
        rows = np.column_stack([boxes, scores]).astype(np.float32)
        return tracker.update(rows, return_all=False)

    return Peer(update, np.asarray)


TRACKERS: dict[str, tuple[str, Callable[[float], Peer]]] = {
    "edgevid Tracker (default)": ("edgevid", _edgevid("Tracker")),
    "edgevid ByteTracker": ("edgevid", _edgevid("ByteTracker")),
    "edgevid OCSortTracker": ("edgevid", _edgevid("OCSortTracker")),
    "edgefirst-tracker": ("edgefirst-tracker", _edgefirst),
    "ioutrack ByteTrack": ("ioutrack", _ioutrack),
    "ultralytics ByteTrack": ("ultralytics", _ultralytics("bytetrack")),
    "ultralytics BoT-SORT (no ReID, no GMC)": ("ultralytics", _ultralytics("botsort")),
    "supervision ByteTrack": ("supervision", _supervision),
    "roboflow trackers ByteTrack": ("trackers", _roboflow("ByteTrackTracker")),
    "roboflow trackers OC-SORT": ("trackers", _roboflow("OCSORTTracker")),
    "norfair (IoU)": ("norfair", _norfair),
}
"""Name: the package it comes from, and what makes one for a frame rate."""


def version(package: str) -> str:
    """The installed version, "in this clone" for edgevid itself."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "in this clone"


def available(
    only: list[str] | None = None,
) -> tuple[dict[str, Callable[[float], Peer]], dict[str, str]]:
    """Makers of the trackers that work here, and why the others do not."""
    works: dict[str, Any] = {}
    fails: dict[str, str] = {}
    box = np.array([[10, 10, 50, 90]], np.float32)
    for name, (_, make) in TRACKERS.items():
        if only and name not in only:
            continue
        try:
            one = make(30.0)
            for n in range(3):
                one.rows(one.update(box + n, np.array([0.9], np.float32), np.array([0], np.int32), n / 30))
            works[name] = make
        except Exception as error:  # a peer may fail in any way; its row says so
            fails[name] = f"{type(error).__name__}: {error}"[:200]
    return works, fails

"""Trackers behind one call: (boxes, scores, labels, t) -> rows of x1, y1, x2, y2, id.

Ours, and peers called from their own packages with their own defaults; the frame rate is told where a
package asks for it. A peer that is not installed is left out and named.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

Update = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


def _edgevid(name: str) -> Callable[[float], Update]:
    def make(fps: float) -> Update:
        from edgevid import track
        from edgevid.types import Detections

        tracker = getattr(track, name)()

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> np.ndarray:
            tracks = tracker.update(Detections(boxes, scores, labels), t)
            seen = tracks.match >= 0
            return np.column_stack([tracks.boxes[seen], tracks.ids[seen]])

        return update

    return make


def _ultralytics(kind: str) -> Callable[[float], Update]:
    def make(fps: float) -> Update:
        import torch
        from ultralytics.engine.results import Boxes
        from ultralytics.trackers import BOTSORT, BYTETracker
        from ultralytics.utils import ROOT, YAML

        torch.set_num_threads(1)
        settings = YAML.load(ROOT / f"cfg/trackers/{kind}.yaml")
        if kind == "botsort":
            settings |= {"gmc_method": "none", "with_reid": False}
        tracker = (BOTSORT if kind == "botsort" else BYTETracker)(SimpleNamespace(**settings))

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> np.ndarray:
            rows = np.column_stack([boxes, scores, labels]).astype(np.float32)
            found = tracker.update(Boxes(rows, (4000, 4000)))
            return np.asarray(found)[:, :5] if len(found) else np.zeros((0, 5))

        return update

    return make


def _supervision(fps: float) -> Update:
    import supervision as sv

    tracker = sv.ByteTrack(frame_rate=round(fps))

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> np.ndarray:
        found = tracker.update_with_detections(
            sv.Detections(xyxy=boxes, confidence=scores, class_id=labels.astype(int))
        )
        return np.column_stack([found.xyxy, found.tracker_id]) if len(found) else np.zeros((0, 5))

    return update


def _roboflow(name: str) -> Callable[[float], Update]:
    def make(fps: float) -> Update:
        import supervision as sv
        import trackers

        tracker = getattr(trackers, name)(frame_rate=fps)

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> np.ndarray:
            found = tracker.update(sv.Detections(xyxy=boxes, confidence=scores, class_id=labels.astype(int)))
            if not len(found) or found.tracker_id is None:
                return np.zeros((0, 5))
            known = found.tracker_id >= 0
            return np.column_stack([found.xyxy[known], found.tracker_id[known]])

        return update

    return make


def _norfair(fps: float) -> Update:
    import norfair

    tracker = norfair.Tracker(distance_function="iou", distance_threshold=0.7)

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> np.ndarray:
        sure = scores >= 0.25
        found = [
            norfair.Detection(points=b.reshape(2, 2), scores=np.array([s, s]))
            for b, s in zip(boxes[sure], scores[sure], strict=True)
        ]
        objects = tracker.update(detections=found)
        rows = [[*o.estimate.ravel(), o.id] for o in objects if o.live_points.any()]
        return np.array(rows).reshape(-1, 5)

    return update


def _edgefirst(fps: float) -> Update:
    from edgefirst.tracker import ByteTrack

    tracker, numbers = ByteTrack(), {}
    size = 4096.0  # it wants boxes in shares of the picture

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> np.ndarray:
        found = tracker.update(boxes / size, scores, labels.astype(np.uintp), int(t * 1e9))
        rows = [
            [*(np.asarray(one.tracked_location) * size), numbers.setdefault(one.uuid, len(numbers) + 1)]
            for one in found
            if one is not None
        ]
        return np.array(rows).reshape(-1, 5)

    return update


def _ioutrack(fps: float) -> Update:
    import ioutrack

    tracker = ioutrack.ByteTrack()

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> np.ndarray:
        rows = np.column_stack([boxes, scores]).astype(np.float32)
        return np.asarray(tracker.update(rows, return_all=False))

    return update


TRACKERS: dict[str, tuple[str, Callable[[float], Update]]] = {
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


def available(wanted: list[str] | None = None) -> tuple[dict[str, Callable[[float], Update]], dict[str, str]]:
    """Makers of the trackers that work here, and why the others do not."""
    works: dict[str, Any] = {}
    fails: dict[str, str] = {}
    box = np.array([[10, 10, 50, 90]], np.float32)
    for name, (_, make) in TRACKERS.items():
        if wanted and name not in wanted:
            continue
        try:
            update = make(30.0)
            for n in range(3):
                update(box + n, np.array([0.9], np.float32), np.array([0], np.int32), n / 30)
            works[name] = make
        except Exception as error:  # a peer may fail in any way; its row says so
            fails[name] = f"{type(error).__name__}: {error}"[:200]
    return works, fails

"""Trackers behind one pair of calls: `update` (boxes, scores, labels, t) returns the package's own result,
and `rows` makes x1, y1, x2, y2, id of it. Only `update` is timed: the package's own step and the
conversion of its input.

Ours, and peers called from their own packages with their own defaults. They get boxes alone: no appearance,
no camera motion from pixels. Where their package takes the time of a frame, its rate or the number of
frames since the last, they get it. A peer that is not installed is left out and named.
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


def edgevid_tracker(name: str, **settings: Any) -> Callable[[float], Peer]:
    """What makes one of our trackers."""

    def make(fps: float) -> Peer:
        from edgevid import track
        from edgevid.types import Detections

        tracker = getattr(track, name)(**settings)

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
            return tracker.update(Detections(boxes, scores, labels), t)

        def rows(tracks: Any) -> np.ndarray:
            detected = tracks.match >= 0
            return np.column_stack([tracks.boxes[detected], tracks.ids[detected]])

        return Peer(update, rows)

    return make


def _ultralytics(kind: str, name: str) -> Callable[[float], Peer]:
    def make(fps: float) -> Peer:
        import torch
        from ultralytics import trackers
        from ultralytics.engine.results import Boxes
        from ultralytics.utils import ROOT, YAML

        torch.set_num_threads(1)
        settings = YAML.load(ROOT / f"cfg/trackers/{kind}.yaml")
        if "gmc_method" in settings:
            settings |= {"gmc_method": "none", "with_reid": False}
        tracker = getattr(trackers, name)(SimpleNamespace(**settings))

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
            rows = np.column_stack([boxes, scores, labels]).astype(np.float32)
            return tracker.update(Boxes(rows, (4000, 4000)))

        return Peer(update, lambda found: np.asarray(found)[:, :5] if len(found) else np.zeros((0, 5)))

    return make


def _boxmot(name: str) -> Callable[[float], Peer]:
    def make(fps: float) -> Peer:
        import boxmot

        more = {"use_cmc": False, "use_embeddings": False} if name == "BotSort" else {}
        rate = {"frame_rate": round(fps)} if name in ("ByteTrack", "BotSort") else {}
        tracker = getattr(boxmot, name)(**rate, **more)
        image = np.zeros((1080, 1920, 3), np.uint8)  # it asks for the frame's size

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
            return tracker.update(np.column_stack([boxes, scores, labels]).astype(np.float32), image, timestamp_s=t)

        return Peer(update, lambda found: np.asarray(found)[:, :5] if len(found) else np.zeros((0, 5)))

    return make


def _supervision_rows(found: Any) -> np.ndarray:
    if not len(found) or found.tracker_id is None:
        return np.zeros((0, 5))
    known = found.tracker_id >= 0
    return np.column_stack([found.xyxy[known], found.tracker_id[known]])


def _roboflow(name: str) -> Callable[[float], Peer]:
    def make(fps: float) -> Peer:
        import supervision as sv
        import trackers

        still = {"enable_cmc": False} if name == "BoTSORTTracker" else {}
        tracker = getattr(trackers, name)(frame_rate=fps, **still)

        def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
            found = sv.Detections(xyxy=boxes, confidence=scores, class_id=labels.astype(int))
            return tracker.update(found, timestamp=t)

        return Peer(update, _supervision_rows)

    return make


def _norfair(fps: float) -> Peer:
    import norfair

    tracker = norfair.Tracker(distance_function="iou", distance_threshold=0.7)
    last: list[float] = []

    def update(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, t: float) -> Any:
        period = max(1, round((t - last[-1]) * fps)) if last else 1
        last[:] = [t]
        sure = scores >= 0.25
        found = [
            norfair.Detection(points=b.reshape(2, 2), scores=np.array([s, s]))
            for b, s in zip(boxes[sure], scores[sure], strict=True)
        ]
        return tracker.update(detections=found, period=period)

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
    "edgevid Tracker (default)": ("edgevid", edgevid_tracker("Tracker")),
    "edgevid ByteTracker": ("edgevid", edgevid_tracker("ByteTracker")),
    "edgevid OCSortTracker": ("edgevid", edgevid_tracker("OCSortTracker")),
    "edgefirst-tracker": ("edgefirst-tracker", _edgefirst),
    "ioutrack ByteTrack": ("ioutrack", _ioutrack),
    "ultralytics TrackTrack": ("ultralytics", _ultralytics("tracktrack", "TRACKTRACK")),
    "ultralytics FastTrack": ("ultralytics", _ultralytics("fasttrack", "FASTTracker")),
    "ultralytics ByteTrack": ("ultralytics", _ultralytics("bytetrack", "BYTETracker")),
    "ultralytics OC-SORT": ("ultralytics", _ultralytics("ocsort", "OCSORT")),
    "ultralytics BoT-SORT": ("ultralytics", _ultralytics("botsort", "BOTSORT")),
    "roboflow ByteTrack": ("trackers", _roboflow("ByteTrackTracker")),
    "roboflow OC-SORT": ("trackers", _roboflow("OCSORTTracker")),
    "roboflow BoT-SORT": ("trackers", _roboflow("BoTSORTTracker")),
    "roboflow C-BIoU": ("trackers", _roboflow("CBIoUTracker")),
    "boxmot ByteTrack": ("boxmot", _boxmot("ByteTrack")),
    "boxmot OC-SORT": ("boxmot", _boxmot("OcSort")),
    "boxmot BoT-SORT": ("boxmot", _boxmot("BotSort")),
    "boxmot SFSORT": ("boxmot", _boxmot("SFSORT")),
    "norfair (IoU)": ("norfair", _norfair),
}
"""Name: the package it comes from, and what makes one for a frame rate."""


def version(package: str) -> str:
    """The installed version, "in this clone" for edgevid itself."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "in this clone"


def available(only: list[str] | None = None) -> tuple[dict[str, Callable[[float], Peer]], dict[str, str]]:
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

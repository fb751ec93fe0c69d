"""Crossings of lines, judged against the tracks themselves, against counts by hand, and against peers.

python benchmarks/lines.py [judge] [cost] [hand] [--data ../shared/data]

judge: the tracks that version 0.1.0 gave with YOLOX-Nano cross 14 lines over the whole frame. They are kept
in benchmarks/tracks; those of a clip without a license are made again by that version, from the history. A
pair of id and line is right where its net count is not 0 and the first and last detected points lie on
different sides, missed where the net is 0, false where both points lie on one side. supervision's LineZone
gets the same detected boxes.
cost: one update with 50 objects, 10 lines and 10 zones.
hand: `edgevid run` with its defaults on whole clips beside ultralytics' ObjectCounter (its own ByteTrack) and
supervision's LineZone (trackers' ByteTrack), all with the detections of the same model; the truth was counted
by eye (labels/crossings.csv).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from bench import conditions, save, table

from edgevid import Detector, Line, Pipeline, Tracker, Zone, ZoneMonitor, open_video
from edgevid.run import run
from edgevid.site.build import build_detector
from edgevid.site.file import Site
from edgevid.types import Detections, Tracks

HERE = Path(__file__).resolve().parent
OLD = "ba1ed7d"
"""The commit of 0.1.0 that the issue measured."""
MODEL = "yolox-nano-416"
CLIPS = {
    "pets09_s2l1_vtest.avi": ("person", 400), "kraten_speedcheck_cars.mp4": ("car,bus,truck", 500),
    "vehicle_counting_tf_input.mp4": ("car,bus,truck", 905), "stuttgart_30fps.mp4": ("car,bus,truck", 250),
    "intel_car-detection.mp4": ("car,bus,truck", 377), "felix_exercise.avi": ("person", 393),
    "intel_one-by-one-person-detection.mp4": ("person", 1394),
    "ahmetozlu_pedestrian_surveillance.mp4": ("person", 242),
    "udacity_solidWhiteRight_dash.mp4": ("car,bus,truck", 221),
    "udacity_highway_dash.mp4": ("car,bus,truck", 38),
}  # fmt: skip
"""Classes, and the number of frames."""
VEHICLES = ("car", "bus", "truck")
MAKE_TRACKS = """
import sys
from edgevid import Detector, Tracker, open_video
path, model, frames, classes, out = sys.argv[1:]
with open_video(path) as video, open(out, "w") as file:
    detector = Detector.load(model, score=0.1, classes=classes.split(","), threads=1)
    tracker, (width, height) = Tracker(high_score=0.4, new_score=0.5), video.size
    for frame in video:
        if frame.index >= int(frames):
            break
        file.write(f"# {width} {height} {frame.time:.4f}\\n")
        for one in tracker.update(detector.detect([frame])[0], frame.time):
            box = ",".join(str(round(10 * float(v))) for v in one.box)
            file.write(f"{one.id},{box},{int(one.match >= 0)}\\n")
"""


def tracks_of(clip: str, data: Path) -> Path:
    """The tracks of 0.1.0 on a clip; made with that version where they are not there."""
    path = HERE / "tracks" / f"{Path(clip).stem}.csv"
    if not path.exists():
        path = HERE.parent / "out" / "tracks" / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        classes, frames = CLIPS[clip]
        with tempfile.TemporaryDirectory() as folder:
            archive = subprocess.run(["git", "archive", OLD], cwd=HERE.parent, check=True, capture_output=True)
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
            environment = os.environ | {
                "PYTHONPATH": folder, "EDGEVID_KERNELS": "numpy", "EDGEVID_MODELS_MIRROR": f"{data}/models",
            }  # fmt: skip
            words = [str(data / "videos" / clip), MODEL, str(frames), classes, str(path)]
            subprocess.run([sys.executable, "-c", MAKE_TRACKS, *words], cwd=folder, env=environment, check=True)
    return path


def read_tracks(path: Path) -> tuple[tuple[int, int], list[tuple[float, Tracks]]]:
    """The size of the frames, and the time and tracks of each."""
    frames: list[tuple[float, list[list[int]]]] = []
    size = (0, 0)
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            width, height, moment = line[2:].split()
            size = int(width), int(height)
            frames.append((float(moment), []))
        else:
            frames[-1][1].append([int(v) for v in line.split(",")])
    return size, [(moment, _tracks(np.array(rows).reshape(-1, 6))) for moment, rows in frames]


def _tracks(rows: np.ndarray) -> Tracks:
    zero = np.zeros(len(rows))
    match = np.where(rows[:, 5] > 0, 0, -1)
    return Tracks.of(
        ids=rows[:, 0], boxes=rows[:, 1:5] / 10, scores=zero + 1, labels=zero.astype(int), match=match,
        age=zero, unseen=zero,
    )  # fmt: skip


def whole_lines(size: tuple[int, int]) -> list[Line]:
    """Seven lines down and seven across, over the whole frame."""
    wide, high = size
    down = [Line(f"x{k}", (wide * k / 8, -50), (wide * k / 8, high + 50)) for k in range(1, 8)]
    return down + [Line(f"y{k}", (-50, high * k / 8), (wide + 50, high * k / 8)) for k in range(1, 8)]


def judge_clip(path: Path) -> dict[str, dict[str, int]]:
    """Right, missed and false pairs of id and line."""
    import supervision as sv

    size, frames = read_tracks(path)
    lines, nets = whole_lines(size), {name: Counter[tuple[int, str]]() for name in ("edgevid", "supervision")}
    monitor, points, taken = ZoneMonitor(lines=lines), dict[int, list[tuple[float, float]]](), Counter[Any]()
    peers = [
        sv.LineZone(sv.Point(*one.start), sv.Point(*one.end), triggering_anchors=[sv.Position.BOTTOM_CENTER])
        for one in lines
    ]
    events = []
    for moment, tracks in frames:
        events += monitor.update(tracks, moment)
        seen = tracks[tracks.match >= 0]
        for row in seen:
            points.setdefault(row.id, []).append(((row.box[0] + row.box[2]) / 2, row.box[3]))
        found = seen.to_supervision()
        for line, peer in zip(lines, peers, strict=True):
            into, out = peer.trigger(found)
            for k, i in enumerate(seen.ids.tolist()):
                nets["supervision"][i, line.name] += int(into[k]) - int(out[k])
    for event in events + monitor.finish():
        nets["edgevid"][event.id, event.place] += 1 if event.direction == "forward" else -1
        taken[event.id, event.place] += 1
    result = {name: {"right": 0, "missed": 0, "false": 0} for name in nets}
    for name, net in nets.items():
        for i, path_of in points.items():
            for line in lines:
                axis = int(line.name[0] == "y")
                before, after = (p[axis] > line.start[axis] for p in (path_of[0], path_of[-1]))
                crossed = net[i, line.name] != 0
                if before != after:
                    result[name]["right" if crossed else "missed"] += 1
                elif crossed:
                    result[name]["false"] += 1
    back = sum(n - abs(nets["edgevid"][key]) for key, n in taken.items())
    return result | {"edgevid": result["edgevid"] | {"back again": back}}


def judge(data: Path) -> dict[str, Any]:
    """Each clip, ours beside the peer."""
    result = {}
    for clip in CLIPS:
        result[clip] = judge_clip(tracks_of(clip, data))
    shown = [
        [clip, *(" / ".join(map(str, list(found[name].values())[:3])) for name in ("edgevid", "supervision")),
         str(found["edgevid"]["back again"])]
        for clip, found in result.items()
    ]  # fmt: skip
    print(table(["right / missed / false", "edgevid", "LineZone", "crossed back"], shown))
    return result


def cost(updates: int = 4000) -> dict[str, float]:
    """Microseconds of an update: 50 objects that walk about, 10 lines, 10 zones."""
    rng = np.random.default_rng(0)
    lines = [Line(f"line {k}", (0, 100 * k + 50), (1920, 100 * k + 60)) for k in range(10)]
    outline = [(5.0, 300.0), (150.0, 300.0), (160.0, 700.0), (80.0, 900.0), (0.0, 700.0)]
    zones = [
        Zone(f"zone {k}", [(x + 180.0 * k, y) for x, y in outline], dwell_s=5, stopped_s=3, direction=90)
        for k in range(10)
    ]  # fmt: skip
    monitor, n = ZoneMonitor(zones, lines, size=(1920, 1080)), 50
    place, speed, zero = rng.uniform(100, 900, (n, 2)), rng.normal(0, 1, (n, 2)), np.zeros(n)
    spent, events = [], 0
    for k in range(updates):
        speed = np.where((place < 100) | (place > 950), np.sign(500 - place) * np.abs(speed), speed)
        place += speed
        boxes = np.concatenate([place - np.array([20, 80]), place + np.array([20, 0])], 1)
        tracks = Tracks.of(ids=np.arange(1, n + 1), boxes=boxes, scores=zero, labels=zero.astype(int),
                           match=np.arange(n), age=zero, unseen=zero)  # fmt: skip
        start = time.perf_counter_ns()
        events += len(monitor.update(tracks, k / 25))
        spent.append((time.perf_counter_ns() - start) / 1000)
    result = {"median": float(np.median(spent)), "p95": float(np.percentile(spent, 95)), "events": events}
    print("microseconds an update:", {name: round(value, 1) for name, value in result.items()})
    return result


def hand(data: Path) -> dict[str, Any]:
    """Totals by direction of each counter and by eye."""
    truth: dict[tuple[str, str, int], Counter[str]] = {}
    with (HERE / "labels" / "crossings.csv").open() as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            key = row["clip"], row["line"], int(row["frames"])
            truth.setdefault(key, Counter())[row["direction"]] += row["crossed_at"] != ""
    result, shown = {}, []
    for (clip, ends, frames), counted in truth.items():
        found = {"by eye": counted} | hand_clip(data / "videos" / clip, ends, frames)
        result[clip] = {name: dict(one) for name, one in found.items()}
        shown.append([clip, *(f"{one['forward']} + {one['backward']}" for one in found.values())])
    print(table(["forward + backward", *found], shown))
    return result


def hand_clip(path: Path, ends: str, frames: int) -> dict[str, Counter[str]]:
    """Crossings by direction of cars, buses and trucks."""
    x1, y1, x2, y2 = (float(v) for v in ends.split())
    line = Line("line", (x1, y1), (x2, y2))
    site = Site(source=str(path))
    detector = build_detector(site, threads=1)
    kept: list[tuple[Any, Detections]] = []

    class Kept:
        """The detector, whose detections are kept for the peers."""

        names = detector.names

        def detect(self, images: Any) -> list[Detections]:
            found = detector.detect(images)
            kept.append((images[0], found[0]))
            return found

    tracker = Tracker(track_high_thresh=site.score, new_track_thresh=site.score + 0.1)
    with open_video(path) as video:
        size = video.size
        summary = run(Pipeline(Kept(), tracker), video, zones=ZoneMonitor(lines=[line], size=size), max_frames=frames)
        fps = video.fps
    ours = Counter({way: sum(n[c] for c in VEHICLES) for way, n in summary.crossings["line"].items()})
    # As a user of each peer would: its defaults, from the scores on that edgevid's first stage starts at.
    labels = [detector.names.index(name) for name in VEHICLES]
    rows = [(f.image[:, :, ::-1], d[np.isin(d.labels, labels)]) for f, d in kept]
    return {
        "edgevid": ours,
        "ObjectCounter": _object_counter(rows, line, detector),
        "LineZone": _line_zone(rows, line, fps),
    }


def _object_counter(rows: Any, line: Line, detector: Detector) -> Counter[str]:
    """ultralytics' ObjectCounter and ByteTrack, whose model is replaced by the kept detections."""
    import torch
    from ultralytics import solutions
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.byte_tracker import BYTETracker
    from ultralytics.utils import ROOT, YAML

    settings = SimpleNamespace(**YAML.load(ROOT / "cfg/trackers/bytetrack.yaml"))
    tracker, counter = BYTETracker(settings), None

    class Counting(solutions.ObjectCounter):
        def extract_tracks(self, im0: Any) -> None:
            found = np.asarray(tracker.update(self.given, im0)).reshape(-1, 8)
            self.track_data = self.tracks = found
            self.boxes, self.track_ids = torch.as_tensor(found[:, :4]), found[:, 4].astype(int).tolist()
            self.confs, self.clss = found[:, 5].tolist(), found[:, 6].astype(int).tolist()

    with contextlib.redirect_stdout(None):
        counter = Counting(
            region=[tuple(map(int, line.start)), tuple(map(int, line.end))], model="yolo11n.yaml", show=False,
            verbose=False,
        )  # fmt: skip
    counter.names = dict(enumerate(detector.names))
    for image, found in rows:
        boxes = np.column_stack([found.boxes, found.scores, found.labels]).astype(np.float32)
        counter.given = Boxes(boxes.reshape(-1, 6), image.shape[:2])
        counter.process(np.ascontiguousarray(image))
    return Counter({"forward": counter.in_count, "backward": counter.out_count})


def _line_zone(rows: Any, line: Line, fps: float) -> Counter[str]:
    """supervision's LineZone with the bottom center, on trackers' ByteTrack."""
    import supervision as sv
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=fps)
    zone = sv.LineZone(sv.Point(*line.start), sv.Point(*line.end), triggering_anchors=[sv.Position.BOTTOM_CENTER])
    for _, found in rows:
        tracked = tracker.update(found.to_supervision())
        zone.trigger(tracked[tracked.tracker_id >= 0])
    down = zone.in_count, zone.out_count  # of a line from left to right, "out" is to its right
    return Counter({"forward": down[1], "backward": down[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="judge, cost, hand; all without one")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    options = parser.parse_args()
    os.environ.setdefault("EDGEVID_MODELS_MIRROR", str(options.data / "models"))
    packages = ("supervision", "trackers", "ultralytics", "onnxruntime")
    where = conditions({name: importlib.metadata.version(name) for name in packages})
    parts = {"judge": lambda: judge(options.data), "cost": cost, "hand": lambda: hand(options.data)}
    result = {name: parts[name]() for name in options.parts or parts}
    if not options.parts:
        print(save("lines", result, where))


if __name__ == "__main__":
    main()

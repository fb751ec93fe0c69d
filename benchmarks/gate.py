"""Frames that need no detection: what the gate saves, what is lost, and whether the promise of its tuning holds.

    python benchmarks/gate.py [--cache DIR] [--only choice empty busy street speeds promise cost]

The default threshold is the loosest of edgevid tune gate's that loses at most CHOICE of the detections on the clips of
TUNED; the others judge. In the clips street-small detects; in the rendered street true boxes with jitter and misses.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
import time as clock
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import bench
import numpy as np

from edgevid.detect.gate import MAX_GAP_S, THRESHOLD, Gate
from edgevid.evaluate.boxes import overlaps
from edgevid.evaluate.tune.gate import THRESHOLDS, GateTrial, choose, try_gates
from edgevid.pipeline import Pipeline
from edgevid.site.build import LoadedSite, build_detector
from edgevid.site.file import Site
from edgevid.speed.calibration_file import read_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.synthetic.scene import Camera, Scene, drive
from edgevid.types import Detections, Frame, Result
from edgevid.video.open import open_video
from edgevid.viewer.config import rendered_calibration

DATA = Path(__file__).parents[2] / "shared" / "data"
INTEL, KRATEN = "videos/intel_one-by-one-person-detection.mp4", "videos/kraten_speedcheck_cars.mp4"
FALLS = sorted(path.relative_to(DATA).as_posix() for path in (DATA / "actions" / "falls_gmdcsa24").glob("*.mp4"))
TUNED = ["videos/intel_car-detection.mp4", "videos/stuttgart_30fps.mp4", "videos/felix_exercise.avi", *FALLS]
BUSY = ["videos/pets09_s2l1_vtest.avi", "videos/vehicle_counting_tf_input.mp4", KRATEN,
        "videos/ahmetozlu_pedestrian_surveillance.mp4"]  # fmt: skip
EMPTY = ((0, 5.9), (20.4, 22.6), (45.3, 50.1), (70.5, 74.4), (87.5, 92.0), (120.8, 123.3), (136.7, 139.3))
"""Seconds of the Intel clip in which no one is visible: all stretches of a second or more, looked at frame by frame at
both ends. The detector misses people in some others."""
CHOICE, MAX_LOSS, DELTA, TUNINGS = 0.001, 0.05, 0.05, 200
SITE = Site(model="street-small")
EVERY: dict[str, Any] = {"auto": "auto", "2 frames": 2, "3 frames": 3, "0.2 s": 0.2}


class Known:
    """A detector whose detections were computed before, by the frame's index."""

    names: tuple[str, ...] = ()

    def __init__(self, found: Sequence[Detections]) -> None:
        self.found = found

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self.found[frame.index] for frame in frames]


def known(name: str, cache: Path) -> Known:
    """The detections of a clip, computed once and kept in the cache."""
    path = cache / f"{Path(name).stem}.found"
    if not path.exists():
        detector = build_detector(SITE, threads=1)
        with open_video(DATA / name) as video:
            found = [detector.detect([frame])[0] for frame in video]
        path.write_bytes(pickle.dumps((detector.names, [(d.boxes, d.scores, d.labels) for d in found])))
    names, found = pickle.loads(path.read_bytes())
    made = Known([Detections(*columns) for columns in found])
    made.names = names
    return made


def results(detector: Any, frames: Iterable[Frame], gate: Gate | None, speed: Any = None) -> list[Result]:
    pipeline = Pipeline(detector, SITE.track.build(SITE.score), speed_estimator=speed, detect_every=gate)
    return [pipeline.process(frame) for frame in frames]


def trials(name: str, cache: Path, **options: Any) -> list[GateTrial]:
    with open_video(DATA / name) as video:
        return try_gates(LoadedSite(SITE), known(name, cache), video, video.size, **options)


def lost_by_object(plain: Sequence[Result], gated: Sequence[Result]) -> np.ndarray:
    """(N,) of each object the share of its detections that no box of the gated run has an IoU of 0.5 with."""
    lost = defaultdict(list)
    for one, other in zip(plain, gated, strict=True):
        found = one.tracks[one.tracks.match >= 0]
        missing = overlaps(found.boxes, other.tracks.boxes).max(1, initial=0) < 0.5
        for number, miss in zip(found.ids.tolist(), missing.tolist(), strict=True):
            lost[number].append(miss)
    return np.array([np.mean(some) for some in lost.values()])


def choice(cache: Path) -> dict[str, Any]:
    """Loss and detected frames of each threshold on the clips of TUNED, together."""
    every = [trials(name, cache) for name in TUNED]
    frames = [len(known(name, cache).found) for name in TUNED]
    rows = []
    for n, threshold in enumerate(THRESHOLDS):
        own = [clip[n] for clip in every]
        objects = [len(one.drawn) for one in own]
        rows.append({
            "threshold": threshold, "objects": sum(objects),
            "detected": float(np.average([one.inferred for one in own], weights=frames)),
            "lost": float(np.average([one.lost for one in own], weights=objects)),
        })  # fmt: skip
    fits = [row["threshold"] for row in rows if row["lost"] <= CHOICE]
    return {"frames": sum(frames), "rows": rows, "chosen": fits[-1], "default": THRESHOLD}


def empty(cache: Path) -> dict[str, Any]:
    with open_video(DATA / INTEL) as video:
        found = results(known(INTEL, cache), video, Gate())
    rows = []
    for start, end in EMPTY:
        some = [one for one in found if start <= one.time <= end]
        rows.append({"seconds": [start, end], "frames": len(some), "detected": sum(not one.gated for one in some)})
    detected, frames = (sum(row[key] for row in rows) for key in ("detected", "frames"))
    return {"rows": rows, "frames": frames, "detected": detected, "saved": 1 - detected / frames,
            "saved in the whole clip": float(np.mean([one.gated for one in found]))}  # fmt: skip


def busy(cache: Path) -> dict[str, Any]:
    """Loss and saving of the default gate and of fixed cadences."""
    made = {}
    for name in [*BUSY, INTEL]:
        runs = {}
        for key, every in {"none": None, **EVERY}.items():
            with open_video(DATA / name) as video:
                runs[key] = results(known(name, cache), video, None if every is None else Gate(every))
        made[Path(name).name] = {"frames": len(runs["none"])} | {
            key: {"detected": float(np.mean([not one.gated for one in run])),
                  "lost": float(np.mean(lost_by_object(runs["none"], run)))}
            for key, run in runs.items() if key != "none"}  # fmt: skip
    return made


def rendered(cache: Path, seconds: float = 1200.0) -> tuple[Path, RenderedStreet]:
    """Twenty minutes of a street through which three vehicles drive, with sensor noise, as H.264."""
    drivers = [drive(1, 42, towards=True, lane=-1.75, begin=190.3, near=8, far=90),
               drive(2, 55, towards=False, lane=1.75, kind="truck", begin=611.1, near=8, far=90),
               drive(3, 33, towards=True, lane=-5.25, begin=1003.7, near=8, far=90)]  # fmt: skip
    street = RenderedStreet(Scene(drivers, Camera(640, 360, 465.0, 6.5, 14.0), seed=1), seconds=seconds)
    path, random = cache / "street.mp4", np.random.default_rng(0)
    if not path.exists():
        noise = random.normal(0, 2, (32, 360, 640, 1)).astype(np.float32)

        def noisy(image: np.ndarray, n: int) -> np.ndarray:
            made = av.VideoFrame.from_ndarray(np.clip(image + noise[n], 0, 255).astype(np.uint8), format="rgb24")
            return made.reformat(format="yuv420p").to_ndarray()

        still = [noisy(street.render(0.0), n) for n in range(len(noise))]
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "24"})
            stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
            for time, n in zip(street.times, random.integers(len(noise), size=len(street.times)).tolist(), strict=True):
                empty = not len(street.scene.at(time).ids)
                planes = still[n] if empty else noisy(street.render(time), n)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
            container.mux(stream.encode())
    return path, street


def same_ids(plain: Sequence[Result], gated: Sequence[Result]) -> dict[int, int]:
    """By id of the run without a gate the id of the gated one whose boxes are most often there."""
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    for one, other in zip(plain, gated, strict=True):
        shared = overlaps(one.tracks.boxes, other.tracks.boxes)
        for number, row in zip(one.tracks.ids.tolist(), shared, strict=True):
            if row.max(initial=0) >= 0.5:
                votes[number][int(other.tracks.ids[row.argmax()])] += 1
    return {number: some.most_common(1)[0][0] for number, some in votes.items()}


def speed_differences(plain: Sequence[Result], gated: Sequence[Result]) -> dict[str, Any]:
    """Smoothed and track speeds of the gated run against those of the other, of the same object and moment."""
    ids = same_ids(plain, gated)
    runs = (plain, gated)
    tables = [{(row.id, round(row.time, 3)): row.mps for one in run for row in one.speeds.smoothed} for run in runs]
    pairs = [(v, tables[1][key]) for (i, t), v in tables[0].items()
             if v > 0.5 and tables[1].get(key := (ids.get(i, -1), t), np.nan) >= 0]  # fmt: skip
    means = defaultdict(list)
    for (i, t), v in tables[0].items():
        if v >= 0 and (other := tables[1].get((ids.get(i, -1), t), np.nan)) >= 0:
            means[i].append((v, other))
    objects = [b / a - 1 for a, b in (np.mean(some, 0) for some in means.values()) if a > 0.5]
    ratio = np.array([b / a - 1 for a, b in pairs])
    ends = [{row.id: row.mps for one in run for row in one.speeds.track_speeds} for run in runs]
    track = [
        abs(ends[1][ids[i]] / v - 1) for i, v in ends[0].items() if v > 0.5 and ends[1].get(ids.get(i, -1), np.nan) >= 0
    ]
    return {
        "smoothed values": len(tables[0]), "in both": len(pairs), "objects": len(objects),
        "mean of an object, largest difference": float(np.abs(objects).max(initial=0)),
        "median difference": float(np.median(np.abs(ratio))), "95 % below": float(np.quantile(np.abs(ratio), 0.95)),
        "track speeds": len(track), "track speeds, median difference": float(np.median(track)) if track else None,
    }  # fmt: skip


def with_speeds(detector: Any, path: Path, calibration: Any, every_: dict[str, Any]) -> dict[str, list[Result]]:
    runs = {}
    for key, every in {"none": None, **every_}.items():
        with open_video(path) as video:
            speed = SpeedEstimator(calibration, video.size, lost_after_s=1.0)
            runs[key] = results(detector, video, None if every is None else Gate(every), speed)
    return runs


def street(cache: Path) -> dict[str, Any]:
    path, scene = rendered(cache)
    runs = with_speeds(RenderedDetector(scene), path, rendered_calibration(scene.scene.camera), {"auto": "auto"})
    made: dict[str, Any] = {"frames": len(runs["none"]), "seconds": scene.times[-1]}
    for key in runs.keys() - {"none"}:
        made[key] = {"detected": float(np.mean([not one.gated for one in runs[key]])),
                     "lost": float(np.mean(lost_by_object(runs["none"], runs[key]))),
                     "speeds": speed_differences(runs["none"], runs[key])}  # fmt: skip
    return made


def speeds(cache: Path) -> dict[str, Any]:
    """A motorway, calibrated: calibration/camera/gantry_road.toml."""
    calibration = read_calibration(Path(__file__).parents[1] / "calibration" / "camera" / "gantry_road.toml")
    runs = with_speeds(known(KRATEN, cache), DATA / KRATEN, calibration, EVERY)
    return {key: speed_differences(runs["none"], runs[key]) for key in EVERY}


def tuned(losses: np.ndarray, thresholds: Sequence[float], count: int, seed: int) -> int:
    """The row that a tuning on `count` objects of the population chooses, -1 for none."""
    random = np.random.default_rng(seed)
    some = losses[:, random.integers(losses.shape[1], size=count)]
    drawn = random.random(count) < some
    found = choose(
        [GateTrial(t, 1.0, 0.0, row, 1.0, 0, 0) for t, row in zip(thresholds, drawn, strict=True)], MAX_LOSS, DELTA
    )
    return -1 if found is None else list(thresholds).index(found.threshold)


def promise(cache: Path) -> dict[str, Any]:
    """TUNINGS tunings on objects drawn from a population whose mean loss at each threshold is known. Real: the objects
    of the busy clips, at thresholds that lose much. Edge: losses of objects vary, and their mean is just above the
    promise from the fourth threshold on."""
    thresholds = (8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
    parts = []
    for name in [*BUSY, *TUNED]:
        runs = []
        for gate in (None, *(Gate(threshold=t, max_gap_s=1.0) for t in thresholds)):
            with open_video(DATA / name) as video:
                runs.append(results(known(name, cache), video, gate))
        parts.append(np.array([lost_by_object(runs[0], run) for run in runs[1:]]))
    random = np.random.default_rng(1)
    means = np.array([0.0, 0.01, 0.03, 0.0501, 0.055, 0.08])
    edge = np.array([random.beta(max(20 * m, 1e-9), 20 * (1 - m), 100_000) for m in means])
    edge *= (means / np.maximum(edge.mean(1), 1e-12))[:, None]
    made = {}
    for key, losses in (("real", np.concatenate(parts, 1)), ("edge", edge)):
        true = losses.mean(1)
        for count in (100, 300, 1000):
            rows = [tuned(losses, thresholds, count, seed) for seed in range(TUNINGS)]
            kept = [row < 0 or true[row] <= MAX_LOSS for row in rows]
            made[f"{key}, {count} objects"] = {
                "population": losses.shape[1], "mean losses": true.round(4).tolist(), "kept": float(np.mean(kept)),
                "chosen": {str(thresholds[row]) if row >= 0 else "none": n for row, n in sorted(Counter(rows).items())},
            }  # fmt: skip
    return made


def cost(cache: Path) -> dict[str, Any]:
    """Milliseconds a frame of the gate, and of a detection with one thread, in alternation."""
    made = {}
    for height, width in ((360, 640), (1080, 1920)):
        random = np.random.default_rng(0)
        planes = [random.integers(0, 255, (height, width), np.uint8) for _ in range(4)]
        half = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
        shown = [(planes[n % 4], half, half) for n in range(60)]
        frames = [Frame.from_yuv420(one, n / 25, n, to_rgb=lambda f: f.image) for n, one in enumerate(shown)]
        row = {}
        for model in ("street-nano", "street-small"):
            detector, gate = build_detector(Site(model=model), threads=1), Gate()
            pipeline = Pipeline(detector, detect_every=gate)
            times: dict[str, list[float]] = {"gate": [], "detect": []}
            for frame in frames:
                for key, call in (("gate", lambda f: gate.due(f)), ("detect", lambda f: detector.detect([f]))):  # noqa: B023
                    start = clock.perf_counter()
                    call(frame)
                    times[key].append(1000 * (clock.perf_counter() - start))
                gate.update(frame, pipeline.tracker.update(Detections.empty(), frame.time), Detections.empty(), 0.5)
            row[model] = {key: float(np.median(some[10:])) for key, some in times.items()}
        made[f"{width}x{height}"] = row
    return made


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "choice": choice, "empty": empty, "busy": busy, "street": street, "speeds": speeds, "promise": promise,
    "cost": cost,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "edgevid-gate")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    where, path = bench.conditions(), bench.RESULTS / "gate.json"
    for key in given.only:
        found = PARTS[key](given.cache)
        print(key, json.dumps(found, indent=1))
        made = json.loads(path.read_text()) if path.exists() else {}
        made |= {"threshold": THRESHOLD, "max_gap_s": MAX_GAP_S, key: found}
        bench.save("gate", {name: one for name, one in made.items() if name != "conditions"}, where)


if __name__ == "__main__":
    main()

"""Camera health: false alarms and time to detect, on real fixed cameras, a rendered road and real speeds.

python benchmarks/health.py [--data ../shared/data] [--quick]

Every image is one second after the one before; clips are played to and fro until they last. A camera that
moves is the clip shifted by a known amount from the middle on. Speeds are those of light gates
(BrnoCompSpeed), multiplied by what a fault would do.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import gzip
import json
import math
import time as clock
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from bench import RESULTS, conditions, save, table

from edgevid.health.speed_drift import SpeedDriftDetector
from edgevid.health.view_monitor import State, ViewMonitor
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import Camera, Noise, Scene, drive, street
from edgevid.types import Array, Frame, Speeds, Tracks
from edgevid.video.open import open_video

FIXED = (
    "felix_exercise.avi", "intel_one-by-one-person-detection.mp4", "kraten_speedcheck_cars.mp4",
    "pets09_s2l1_vtest.avi", "vehicle_counting_tf_input.mp4",
)  # fmt: skip
HELD = "intel_car-detection.mp4"
"""Filmed with a telephone that slowly moved: 12 pixels in half a minute."""
DRAWN = "rendered road, light 100 to 30 %"
FAULTS = ("+2.6 %", "+4.2 %", "+8.8 %", "+19 %", "-7.7 %")
SHIFTS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ALARMS = (State.MOVED, State.LOST)
SUSPICIONS = (State.SUSPECT, State.SHAKING, *ALARMS)


def images_of(path: Path) -> list[Array]:
    """One image per second."""
    kept, due = [], 0.0
    with open_video(path) as video:
        for frame in video:
            if frame.time >= due:
                kept.append(frame.image)
                due += 1.0
    return kept


def to_and_fro(images: Sequence[Array], seconds: int) -> Callable[[int], Array]:
    """The image of each second, without a jump at the ends."""
    turn = [*range(len(images)), *range(len(images) - 2, 0, -1)]
    return lambda second: images[turn[second % len(turn)]]


def shifted(image: Array, dx: float, dy: float, turn: float = 0.0) -> Array:
    """What the camera shows after it moved; the new edge is made up by reflection."""
    h, w = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), -turn, 1.0)
    matrix[:, 2] += [dx, dy]
    return cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def rendered(seconds: int) -> list[Array]:
    """A road with traffic: the light fades and comes back, shadows walk, the sensor is noisy."""
    source = RenderedStreet(street(3, seconds=seconds, camera=Camera(1280, 720, 930.0, 7.0, 16.0)))
    random, out = np.random.default_rng(0), []
    for second in range(seconds):
        image = source.render(float(second)).astype(np.float32)
        shade = np.zeros(image.shape[:2], np.float32)
        x = 1280 * (second / seconds) * 1.4 - 300
        corners = [[x, 300], [x + 260, 300], [x + 620, 720], [x + 120, 720]]
        cv2.fillPoly(shade, [np.array(corners, np.int32)], 1)
        image *= 1 - 0.45 * cv2.GaussianBlur(shade, (0, 0), 4)[..., None]
        light = 0.30 + 0.70 * abs(math.cos(2 * math.pi * second / seconds))
        if 0.45 < second / seconds < 0.5:
            light *= 0.6  # a cloud
        image = image * light * [1.0, 1.0, 0.75 + 0.25 * light] + random.normal(0, 5, image.shape)
        out.append(np.clip(image, 0, 255).astype(np.uint8))
    return out


def watched(
    show: Callable[[int], Array], seconds: int, at: int | None, by: tuple[float, float, float]
) -> dict[str, Any]:
    """One run of the watch; the camera moves `by` (dx, dy, degrees) in second `at`."""
    watch, states, spent = ViewMonitor(), [], 0.0
    for second in range(seconds):
        if second < watch._next:  # no check is due: no image is needed
            states.append(watch.state)
            continue
        image = show(second)
        if at is not None and second >= at:
            image = shifted(image, *by)
        frame = Frame(image, float(second), second)
        began = clock.process_time()  # other programs may share the machine
        watch.update(frame)
        spent += clock.process_time() - began
        states.append(watch.state)
        if at is not None and watch.state in ALARMS:
            break

    def first(kinds: Sequence[State]) -> int | None:
        return next((n - (at or 0) for n in range(at or 0, len(states)) if states[n] in kinds), None)

    motion = watch.motion
    error = math.hypot(motion.dx - by[0], motion.dy - by[1]) if motion and at is not None else math.nan
    return {
        "suspicion": first(SUSPICIONS), "alarm": first(ALARMS), "error": error, "checks": watch.checks,
        "ms": 1000 * spent / watch.checks, "references": len(watch.references), "end": states[-1].value,
        "limit": watch.limit(frame.width), "suspected": sum(s in SUSPICIONS for s in states),
    }  # fmt: skip


def images_part(scenes: dict[str, list[Array]], quick: bool) -> tuple[list[list[str]], list[list[str]], dict[str, Any]]:
    """Rows of false alarms and of detections, and all that was measured."""
    still, found, raw = [], [], {}
    for name, images in scenes.items():
        show = to_and_fro(images, len(images))
        seconds = 300 if quick else 1200
        quiet = watched(show, seconds, None, (0, 0, 0))
        raw[name] = {"untouched": quiet, "shifts": {}}
        height, width = images[0].shape[:2]
        alarm = "none" if quiet["alarm"] is None else f"at {quiet['alarm']} s"
        still.append([
            name, f"{width}x{height}", str(quiet["checks"]), alarm,
            str(quiet["doubted"]), str(quiet["references"]), f"{quiet['ms']:.1f}",
        ])  # fmt: skip
        row = [name, f"{quiet['limit']:.1f}"]
        for size in SHIFTS:
            runs = []
            for turn in range(3):
                angle = 2.1 * turn + 0.4
                by = (size * math.cos(angle), size * math.sin(angle), 0.0)
                runs.append(watched(show, 50, 12, by))
            raw[name]["shifts"][str(size)] = runs
            hit = [r for r in runs if r["alarm"] is not None]
            late = (
                f"{np.median([r['suspicion'] for r in hit]):.0f}/{np.median([r['alarm'] for r in hit]):.0f} s"
                if hit
                else ""
            )
            row.append(f"{len(hit)}/{len(runs)} {late}".strip())
        errors = [r["error"] for runs in raw[name]["shifts"].values() for r in runs]
        row.append(f"{np.nanmedian(errors):.2f}")
        found.append(row)
        print(still[-1], row, flush=True)
    return still, found, raw


def shaking_part(images: list[Array], quick: bool) -> list[list[str]]:
    """A mast in the wind: displaced every second, never moved for good."""
    rows, random = [], np.random.default_rng(1)
    show = to_and_fro(images, len(images))
    for size in (1, 2, 3, 5, 10, 30):
        watch, states = ViewMonitor(), []
        for second in range(120 if quick else 200):
            if second < watch._next:
                states.append(watch.state)
                continue
            angle = random.uniform(0, 2 * math.pi)
            sway = size * math.sin(angle) if second > 10 else 0.0
            watch.update(Frame(shifted(show(second), sway, 0.4 * sway), float(second), second))
            states.append(watch.state)
        share = np.mean([s in (State.SHAKING, State.SUSPECT) for s in states])
        rows.append([f"{size} px", "yes" if State.MOVED in states else "no", f"{100 * share:.0f} %"])
    return rows


def true_speeds(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """(seconds, km/h) of every valid car of each recording, in order."""
    found = {}
    for file in sorted(folder.glob("session*_center/gt_data.json.gz")):
        cars = json.loads(gzip.decompress(file.read_bytes()))["cars"]
        good = [c for c in cars if c["valid"] and c["speed"] > 10]
        rows = sorted((c["timeIntersectionLastShifted"], c["speed"]) for c in good)
        if len(rows) >= 400:
            found[file.parent.name] = rows
    return found


def first_alarm(rows: Sequence[float], factor: float, learn: int, tolerance: float = 0.03) -> tuple[int, str] | None:
    """Vehicles after the fault until the alarm, and its way; the first `learn` make the baseline."""
    watch, now = SpeedDriftDetector(tolerance=tolerance), datetime(2026, 3, 2, 8)
    watch.update(Tracks.empty(), Speeds.empty(), Speeds.empty(), now)
    for number, kmh in enumerate(rows):
        if number == learn:
            watch.commit()
        mps = kmh / 3.6 * (factor if number >= learn else 1.0)
        found = watch.add_speed(mps, 90.0, now + timedelta(seconds=number))
        if found and number >= learn:
            return number - learn + 1, found[0].direction
    return None


def speeds_part(data: Path | None, quick: bool) -> tuple[list[list[str]], list[list[str]]]:
    """Rows on true speeds and on simulated ones."""
    rows, factors = [], (1.026, 1.042, 1.088, 1.19, 0.923)
    for name, cars in (true_speeds(data) if data else {}).items():
        speeds = [kmh for _, kmh in cars]
        learn = min(200, len(speeds) // 2)
        cells = [first_alarm(speeds, f, learn) for f in (1.0, *factors)]
        spread = np.std(np.log(speeds))
        alarms = ["none" if c is None else f"{c[0]} {c[1]}" for c in cells]
        rows.append([name, str(len(speeds)), f"{100 * spread:.0f} %", *alarms])
    made = []
    for tolerance in (0.03, 0.0):
        runs = 10 if quick else 40
        made += [simulated(spread, tolerance, factors, runs) for spread in (0.08, 0.12, 0.16)]
    return rows, made


def simulated(spread: float, tolerance: float, factors: Sequence[float], runs: int) -> list[str]:
    """Median vehicles to detect each factor, and false alarms, on independent log-normal speeds."""
    random, cells = np.random.default_rng(0), []

    def wait(count: int, factor: float) -> tuple[int, str] | None:
        return first_alarm(50 * np.exp(random.normal(0, spread, count)), factor, 200, tolerance)

    for factor in factors:
        waits = [(wait(2200, factor) or (2001, ""))[0] for _ in range(runs)]
        cells.append(f"{np.median(waits):.0f}" if np.median(waits) <= 2000 else "over 2000")
    hits = [wait(5200, 1.0) for _ in range(runs)]
    total = sum(hit[0] if hit else 5000 for hit in hits)
    false = f"{sum(hit is not None for hit in hits)} in {total}"
    return [f"{100 * spread:.0f} %", f"{100 * tolerance:.0f} %", false, *cells]


def ratio_part(quick: bool) -> list[list[str]]:
    """Far against near, simulated: a vehicle's own change of speed and the measurement make the spread."""
    random, runs, rows = np.random.default_rng(0), 10 if quick else 40, []
    for spread in (0.03, 0.05):
        cells, false, total = [], 0, 0
        for tilt in (0.0, 0.02, 0.035, 0.07, -0.04):
            waits = []
            for _ in range(runs):
                watch = SpeedDriftDetector()
                for value in random.normal(0, spread, 200):
                    watch.add_ratio(14 * math.exp(value), 14, 90.0)
                watch.commit()
                count = 5000 if tilt == 0 else 2000
                values = random.normal(tilt, spread, count)
                alarms = (n for n, v in enumerate(values, 1) if watch.add_ratio(14 * math.exp(v), 14, 90.0))
                hit = next(alarms, None)
                waits.append(hit or count)
                if tilt == 0:
                    false, total = false + (hit is not None), total + (hit or count)
            if tilt:
                cells.append(f"{np.median(waits):.0f}")
        rows.append([f"{100 * spread:.0f} %", f"{false} in {total}", *cells])
    return rows


ROAD = np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)


def tilt_part(quick: bool) -> list[list[str]]:
    """From boxes to the alarm: a camera is tilted, its calibration is not."""
    camera, rows = Camera(), []
    pixels = camera.project(np.column_stack([ROAD, np.zeros(4)]))
    calibration = make_calibration(pixels, ROAD, (1920, 1080), region=shapely.box(0, 150, 1920, 1078))
    learned = SpeedDriftDetector(hour_s=1e9)
    pass_by(learned, calibration, camera, 60 if quick else 120, 1)
    learned.commit()
    for tilt in (0.0, 0.25, 0.5, 1.0, -0.5):
        watch = copy.deepcopy(learned)
        moved = dataclasses.replace(camera, pitch=camera.pitch + tilt)
        kind, vehicles = pass_by(watch, calibration, moved, 40 if quick else 80, 7)
        rows.append([f"{tilt:+g} degrees", kind or "none", str(vehicles)])
    return rows


def pass_by(
    watch: SpeedDriftDetector, calibration: CameraCalibration, camera: Camera, count: int, seed: int
) -> tuple[str, int]:
    """`count` vehicles one after another: the first alarm's kind and the vehicles until then.

    50 km/h +- 12 %, each changing its speed by 3 % (one sigma) on the way; boxes with 2 px correlated
    jitter and 10 % misses.
    """
    random, movers = np.random.default_rng(seed), []
    for n in range(count):
        kmh, stay = 50 * math.exp(random.normal(0, 0.12)), 6.0
        change = random.normal(0, 0.03) * kmh / 3.6 / (45 / (kmh / 3.6))
        lane = (-1.75, 1.75)[n % 2]
        one = drive(n + 1, kmh, towards=lane < 0, lane=lane, begin=stay * n, legs=[(20.0, change, 0.0)])
        movers.append(dataclasses.replace(one, end=stay * (n + 1)))
    scene, speed_estimator = Scene(movers, camera, Noise(2, 0.15, 0.1), seed), SpeedEstimator(calibration)
    start, before, last = datetime(2026, 3, 2, 8), watch.vehicles, {}
    for truth, detected, ids in scene.simulate([n / 12.5 for n in range(round(6.0 * count * 12.5))]):
        here = dict(zip(ids.tolist(), detected.boxes, strict=True))
        last.update(here)
        rows = [i for i in truth.ids.tolist() if i in last]
        zero = np.zeros(len(rows))
        tracks = Tracks.of(
            ids=rows, boxes=np.array([last[i] for i in rows]).reshape(-1, 4), scores=zero + 1, labels=zero,
            match=[n if i in here else -1 for n, i in enumerate(rows)], age=zero, unseen=zero,
        )  # fmt: skip
        report = speed_estimator.update(tracks, truth.time)
        now = start + timedelta(seconds=truth.time)
        if found := watch.update(tracks, report.smoothed, report.track_speeds, now):
            return found[0].kind, watch.vehicles - before
    return "", watch.vehicles - before


HEADS = {
    "untouched": ["scene", "pixels", "checks", "alarm", "suspected seconds", "references", "CPU ms/check"],
    "moved": ["scene", "limit px", *(f"{s:g} px" for s in SHIFTS), "error px"],
    "shaking": ["amplitude", "moved", "abstained"],
    "speeds": ["recording", "cars", "spread", "untouched", *FAULTS],
    "simulated": ["spread", "tolerance", "false alarms", *FAULTS],
    "ratio": ["spread", "false alarms", "+2 %", "+3.5 %", "+7 %", "-4 %"],
    "tilted": ["tilt", "alarm", "vehicles"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", default="images,speeds,tilt", help="only these; the others stay as they were")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    where, expected = conditions({"opencv": cv2.__version__, "numpy": np.__version__}), asked.parts.split(",")
    raw: dict[str, Any] = {}
    made: dict[str, list[list[str]]] = {}
    if "images" in expected:
        scenes = {n: images_of(asked.data / "videos" / n) for n in FIXED if (asked.data / "videos" / n).exists()}
        scenes[DRAWN] = rendered(60 if asked.quick else 120)
        made["untouched"], made["moved"], raw = images_part(scenes, asked.quick)
        held = asked.data / "videos" / HELD
        raw[HELD] = watched(to_and_fro(images_of(held), 30), 30, None, (0, 0, 0)) if held.exists() else None
        made["shaking"] = shaking_part(scenes[DRAWN], asked.quick)
    if "speeds" in expected:
        brno = asked.data / "speed" / "brnocompspeed"
        made["speeds"], made["simulated"] = speeds_part(brno if brno.exists() else None, asked.quick)
        made["ratio"] = ratio_part(asked.quick)
    if "tilt" in expected:
        made["tilted"] = tilt_part(asked.quick)
    old = RESULTS / "health.json"
    result = json.loads(old.read_text()) if old.exists() else {}
    result.pop("conditions", None)
    result["raw"] = raw or result.get("raw", {})
    for title, rows in made.items():
        result[title] = [HEADS[title], *rows]
        print(f"\n{title}\n{table(HEADS[title], rows)}")
    print(f"\n{HELD}: {result['raw'].get(HELD)}")
    result |= {"head": HEADS["moved"], "rows": result.get("moved", [[]])[1:]}
    print(save("health", result, where))


if __name__ == "__main__":
    main()

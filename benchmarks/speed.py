"""Speed over the ground on a simulated road: three methods and their peers, in one run, against the truth.

python benchmarks/speed.py [--seeds 5] [--python ultralytics=PATH] [--python roboflow=PATH] ...

Setting: speed_scenes.py. Peers are called from their packages by the interpreter that has them
(speed_peers.py lists what is called); ids are given, so no tracker plays a part. Errors are in km/h, over
every frame in which a method emits a speed, against the truth at the moment that the value is for: now, or
the time that our smoothed values state. "all" counts our values with no limit of uncertainty (a standard
error under 10 km/h): the others never abstain.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from bench import conditions, save, table
from speed_scenes import CAMERA, CORRELATED, FAR, FPS, LANES, NEAR, WHITE, Run, calibration, parked, runs

from edgevid.speed import abstain, homography
from edgevid.speed.displacement import Displacement
from edgevid.speed.estimator import METHODS, Method, SpeedEstimator
from edgevid.synthetic.scene import Noise
from edgevid.types import Tracks

PEERS = ("ultralytics", "roboflow", "supervision")
NAMES = {"ultralytics": "Ultralytics SpeedEstimator", "roboflow": "Roboflow velocity block",
         "supervision": "supervision's example"}  # fmt: skip
PEER_SEEDS = 2
"""Seeds that peers are given: they are slow, and their errors are not small differences."""
LIMIT = (2.0, 0.05)
"""The estimator's own limits of uncertainty: 2 km/h, or 5 % of the speed."""


def parts(seeds: int) -> dict[str, list[Run]]:
    """All runs by scenario."""
    many = 4 * seeds
    return {
        "constant, white": runs("constant", WHITE, seeds),
        "constant": runs("constant", CORRELATED, seeds),
        "accelerate": runs("accelerate", CORRELATED, many),
        "brake": runs("brake", CORRELATED, many),
        "stop and go": runs("stop and go", CORRELATED, many),
        "uneven fps": runs("constant", CORRELATED, seeds, uneven=True),
        "parked": parked(CORRELATED, 100),
    }


def speed_estimator(method: Method) -> SpeedEstimator:
    """Ours, without abstention for uncertainty: the limit is applied when scoring."""
    displacement = Displacement(frames=10, average=3) if method == "displacement" else None
    return SpeedEstimator(
        calibration(), method=method, displacement=displacement, noise_px=2, click_px=0, sigma_limit_mps=1e9
    )


def measure(method: Method, given: list[Run]) -> list[dict[str, np.ndarray]]:
    """Of each run (n, 4) of live, smoothed and track speed: moment, km/h, sigma in km/h, time of report.

    All runs of a seed go through one estimator at once, as independent tracks: the occlusion check, which
    would find them in front of one another, is off.
    """
    found: list[dict[str, list[tuple[float, ...]]]] = [{"live": [], "smoothed": [], "track_speeds": []} for _ in given]
    for seed in sorted({run.seed for run in given}):
        rows: dict[float, list[tuple[int, int]]] = {}
        for n, run in enumerate(given):
            for k, t in enumerate(run.times if run.seed == seed else ()):
                rows.setdefault(round(float(t), 6), []).append((n, k))
        made = speed_estimator(method)
        for now in [*sorted(rows), max(rows) + 1 / FPS]:
            here = rows.get(now, [])
            zero, seen = np.zeros(len(here)), np.array([given[n].seen[k] for n, k in here], bool)
            boxes = np.array([given[n].boxes[k] for n, k in here]).reshape(-1, 4)
            tracks = Tracks.of(ids=[n + 1 for n, _ in here], boxes=boxes, scores=zero, labels=zero,
                               match=np.where(seen, 0, -1), age=zero, unseen=zero)  # fmt: skip
            report = made.update(tracks, now)
            for part in ("live", "smoothed", "track_speeds"):
                for row in getattr(report, part):
                    if row.reason == 0:
                        found[row.id - 1][part].append((row.time, 3.6 * row.mps, 3.6 * row.sigma, now))
    return [{part: np.array(v).reshape(-1, 4) for part, v in one.items()} for one in found]


def score(given: list[Run], values: list[np.ndarray], limit: tuple[float, float] | None) -> dict[str, float]:
    """Errors over all runs; `limit` None keeps all values with a standard error under 10 km/h."""
    off, sigma, steps, frames = [], [], [], 0
    for run, rows in zip(given, values, strict=True):
        most = np.maximum(limit[0], limit[1] * rows[:, 1]) if limit else np.full(len(rows), 10.0)
        emitted = rows[rows[:, 2] <= most]
        error = emitted[:, 1] - np.interp(emitted[:, 0], run.times, run.kmh)
        off.append(error)
        sigma.append(emitted[:, 2])
        follows = np.diff(emitted[:, 3]) < 2.5 / FPS
        steps.append(np.diff(error)[follows])
        frames += len(run.times)
    e, s, d = (np.concatenate(x) for x in (off, sigma, steps))
    a = np.abs(e)
    return {
        "mean": float(a.mean()), "p95": float(np.percentile(a, 95)), "bias": float(e.mean()),
        "within 68": float((a < s).mean()), "within 95": float((a < 1.96 * s).mean()),
        "emitted": len(e) / frames, "jitter": float(np.sqrt((d**2).mean())) if len(d) else 0.0,
    }  # fmt: skip


def floor(run: Run, rho: float) -> float:
    """Cramer-Rao: the least standard error in km/h of a straight constant motion observed as in `run`."""
    found = calibration()
    at, low = np.flatnonzero(run.seen), run.boxes[:, 3] < CAMERA.height - 6
    at = at[low[at]]
    t = run.times[at] - run.times[at].mean()
    center = np.array([run.mover.state(x)[:2] for x in run.times[at]])
    # The contact point is half a car nearer: the same within 1 %.
    j = homography.jacobian(found.inverse_homography, center)
    a = np.concatenate([j, j * t[:, None, None]], 2)
    lag = np.abs(at[:, None] - at)
    inverse = np.linalg.inv(np.where(lag == 0, 1.0, rho**lag if rho else 0.0))
    information = sum(
        a[:, k].T @ inverse @ a[:, k] / variance for k, variance in ((0, 2.0), (1, 4.0))
    )  # u is the mean of two edges
    velocity = center[-1] - center[0]
    u = velocity / np.hypot(*velocity)
    return float(3.6 * np.sqrt(u @ np.linalg.inv(information)[2:, 2:] @ u))


def track_speeds(given: list[Run], values: list[np.ndarray], rho: float) -> dict[str, float]:
    """Errors of the track speeds, also relative to the Cramer-Rao bound."""
    rows = [(v[0, 1] - r.kmh[0], v[0, 2], floor(r, rho)) for r, v in zip(given, values, strict=True) if len(v)]
    e, s, least = np.array(rows).T
    return {
        "mean": float(np.abs(e).mean()), "median": float(np.median(np.abs(e))),
        "p95": float(np.percentile(np.abs(e), 95)), "within 95": float((np.abs(e) < 1.96 * s).mean()),
        "of the floor": float(np.sqrt((e**2).mean() / (least**2).mean())),
        "of the floor, mean of |e|": float(np.abs(e).mean() / (least.mean() * np.sqrt(2 / np.pi))),
        "emitted": len(e) / len(given),
    }  # fmt: skip


def stationary(given: list[Run], values: list[np.ndarray]) -> dict[str, float]:
    """Speeds of parked cars: tracks ever reported as moving, and the mean speed."""
    shown = [np.nan_to_num(v[v[:, 2] <= LIMIT[0]][:, 1]) for v in values]
    everything = np.concatenate(shown)
    return {
        "tracks": len(given), "reported as moving": int(sum((v > 0).any() for v in shown)),
        "mean speed": float(everything.mean()) if len(everything) else 0.0,
        "emitted": len(everything) / sum(len(r.times) for r in given),
    }  # fmt: skip


def peers(all_parts: dict[str, list[Run]], pythons: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What each peer emits in each frame, scored; and why one was not run."""
    clean = runs("constant", Noise(), 1)
    packed: dict[str, Any] = {"parts": np.array(list(all_parts))}
    corners = np.array([[-7, FAR, 0], [7, FAR, 0], [7, NEAR, 0], [-7, NEAR, 0]], float)
    packed["corners"] = CAMERA.project(corners)
    for part, given in [*all_parts.items(), ("clean", clean)]:
        for field in ("times", "boxes", "seen", "kmh"):
            packed[f"{part}_{field}"] = np.concatenate([getattr(r, field) for r in given])
        packed[f"{part}_run"] = np.concatenate([np.full(len(r.times), n + 1) for n, r in enumerate(given)])
        packed[f"{part}_frame"] = np.concatenate([np.arange(len(r.times)) for r in given])
        packed[f"{part}_fps"] = np.median([1 / np.diff(r.times).mean() for r in given])
    scored, absent = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "runs.npz", Path(folder) / "shown.npz"
        np.savez(source, **packed)
        for name in PEERS:
            command = [pythons.get(name, sys.executable), str(Path(__file__).with_name("speed_peers.py"))]
            done = subprocess.run([*command, name, str(source), str(target)], capture_output=True, text=True)
            if done.returncode:
                absent[name] = done.stderr.strip().splitlines()[-1][:120]
                continue
            shown = dict(np.load(target))
            scored[name] = {"version": str(shown["version"]), "meters per pixel": float(shown["scale"])}
            for part in all_parts:
                e = shown[part] - packed[f"{part}_kmh"]
                same = packed[f"{part}_run"][1:] == packed[f"{part}_run"][:-1]
                a, d = np.abs(e[np.isfinite(e)]), np.diff(e)[same]
                scored[name][part] = {
                    "mean": float(a.mean()), "p95": float(np.percentile(a, 95)), "emitted": len(a) / len(e),
                    "jitter": float(np.sqrt(np.nanmean(d**2))),
                }  # fmt: skip
    return scored, absent


def cost(objects: int = 50, frames: int = 300, rounds: int = 5) -> dict[str, float]:
    """Median microseconds of SpeedEstimator.update, whole, at 50 tracks; the methods take turns."""
    random = np.random.default_rng(1)
    x, y = random.uniform(-7, 7, objects), random.uniform(20, 56, objects)
    slow, given, zero = random.uniform(-0.5, 0.5, objects), [], np.zeros(objects)
    for n in range(frames):
        at = y + slow * n / FPS
        foot = CAMERA.project(np.column_stack([x, at, zero]))
        half = CAMERA.focal * 0.9 / at
        boxes = np.column_stack([foot[:, 0] - half, foot[:, 1] - 2 * half, foot[:, 0] + half, foot[:, 1]])
        seen = random.random(objects) > 0.1
        given.append(Tracks.of(
            ids=np.arange(objects) + 1, boxes=boxes + random.normal(0, 2, boxes.shape), scores=zero + 1,
            labels=zero, match=np.where(seen, np.arange(objects), -1), age=zero, unseen=zero,
        ))  # fmt: skip
    spent: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(rounds):
        for method, kept in spent.items():
            made = speed_estimator(method)
            for n, tracks in enumerate(given):
                begin = time.perf_counter()
                made.update(tracks, n / FPS)
                if n > 60:
                    kept.append(time.perf_counter() - begin)
    return {method: 1e6 * float(np.median(kept)) for method, kept in spent.items()}


def cost_alone() -> dict[str, float]:
    """`cost` in a process that nothing interrupts, where the system allows it (`chrt -r 1`)."""
    command, core = [sys.executable, __file__, "--cost"], str((os.cpu_count() or 1) - 1)
    alone = ["chrt", "-r", "1", "taskset", "-c", core]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
        command = [*alone, *command]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def bars(ours: dict[str, Any], micro: dict[str, float]) -> list[list[str]]:
    """Every bar and the measured value."""
    f, rows = ours["filter"], []

    def bar(what: str, found: float, most: float, least: float = -np.inf, form: str = "{:.2f}") -> None:
        expected = f"at most {form.format(most)}" if np.isinf(least) else f"{least:.2f} to {most:.2f}"
        rows.append([what, expected, form.format(found), "met" if least <= found <= most else "missed"])

    for what, part, kind, most in (
        ("live, constant, independent jitter", "constant, white", "live", 0.85),
        ("smoothed, constant, independent jitter", "constant, white", "smoothed", 0.46),
        ("smoothed, constant, correlated jitter", "constant", "smoothed", 1.03),
        ("smoothed, accelerating", "accelerate", "smoothed", 1.03),
        ("smoothed, braking", "brake", "smoothed", 1.45),
    ):
        bar(f"{what}: mean error, km/h", f[part][kind]["mean"], most)
        rows[-1][3] += f" ({f[part][kind + ' all']['mean']:.2f} without abstention)"
        bar(f"{what}: 95th percentile", f[part][kind]["p95"], 3 * most)
    bar("95 % intervals, smoothed, constant", f["constant"]["smoothed"]["within 95"], 0.98, 0.92)
    bar("95 % intervals, smoothed, braking", f["brake"]["smoothed"]["within 95"], 1.0, 0.88)
    for part in ("constant, white", "constant"):
        name = "independent" if "white" in part else "correlated"
        bar(f"track speeds against Cramer-Rao, {name} jitter", f[part]["track_speeds"]["of the floor"], 1.15)
    bar("smoothed, frame to frame, km/h", f["constant"]["smoothed"]["jitter"], 0.3)
    bar("uneven fps against even", f["uneven fps"]["smoothed"]["mean"] / f["constant"]["smoothed"]["mean"], 1.2)
    bar("parked tracks reported as moving, of 100 x 10 s", f["parked"]["live"]["reported as moving"], 0, form="{:.0f}")
    bar("the same, smoothed", f["parked"]["smoothed"]["reported as moving"], 0, form="{:.0f}")
    bar("update at 50 tracks, microseconds", micro["filter"], 100, form="{:.0f}")
    return rows


def ours_of(all_parts: dict[str, list[Run]]) -> dict[str, Any]:
    """All scores of the three methods."""
    made: dict[str, Any] = {}
    for method in METHODS:
        made[method] = {}
        for part, given in all_parts.items():
            found = measure(method, given)
            kinds = {k: [v[k] for v in found] for k in ("live", "smoothed", "track_speeds")}
            if part == "parked":
                made[method][part] = {k: stationary(given, kinds[k]) for k in ("live", "smoothed")}
                continue
            made[method][part] = {k: score(given, kinds[k], LIMIT) for k in ("live", "smoothed")}
            made[method][part] |= {f"{k} all": score(given, kinds[k], None) for k in ("live", "smoothed")}
            if part.startswith("constant"):
                rho = 0.0 if "white" in part else 0.8
                made[method][part]["track_speeds"] = track_speeds(given, kinds["track_speeds"], rho)
            print(f"{method}, {part}: smoothed {made[method][part]['smoothed']}", file=sys.stderr)
    return made


def alone(boxes: np.ndarray) -> np.ndarray:
    """No one is occluded: every vehicle of the benchmark is alone before the camera."""
    return np.zeros(len(boxes), bool)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    options.add_argument("--cost", action="store_true", help="only microseconds a frame")
    chosen = options.parse_args()
    if chosen.cost:
        return print(json.dumps(cost()))
    all_parts = parts(chosen.seeds)
    assert len(LANES) == 4
    occluded, abstain.is_occluded = abstain.is_occluded, alone
    ours = ours_of(all_parts)
    abstain.is_occluded = occluded
    few = {part: [run for run in given if run.seed < PEER_SEEDS] for part, given in all_parts.items()}
    theirs, absent = peers(few, dict(one.split("=", 1) for one in chosen.python))
    micro = cost_alone()
    head = ["mean error / 95th percentile, km/h", "constant, independent", "constant", "accelerating",
            "braking", "stop and go", "parked", "emitted"]  # fmt: skip
    order = ("constant, white", "constant", "accelerate", "brake", "stop and go")
    rows = []
    for method in METHODS:
        for kind in ("smoothed", "live") if method == "filter" else ("smoothed",):
            part = ours[method]
            name = f"edgevid {method}, {kind}" if method == "filter" else f"edgevid {method}"
            cells = [f"{part[p][kind]['mean']:.2f} / {part[p][kind]['p95']:.2f}" for p in order]
            rows.append([name, *cells, f"{part['parked'][kind]['mean speed']:.2f}",
                         f"{100 * part['constant'][kind]['emitted']:.0f} %"])  # fmt: skip
    for name, part in theirs.items():
        cells = [f"{part[p]['mean']:.1f} / {part[p]['p95']:.1f}" for p in order]
        rows.append([f"{NAMES[name]} {part['version']}", *cells, f"{part['parked']['mean']:.1f}",
                     f"{100 * part['constant']['emitted']:.0f} %"])  # fmt: skip
    judged = bars(ours, micro)
    print(table(head, rows), "\n")
    print(table(["bar", "target", "measured", ""], judged))
    where = conditions({name: part["version"] for name, part in theirs.items()})
    where["command"] = "python benchmarks/speed.py" + (f" --seeds {chosen.seeds}" if chosen.seeds != 5 else "")
    result = {
        "head": head, "rows": rows, "bars": [["bar", "target", "measured", ""], *judged], "ours": ours,
        "peers": theirs, "not run": absent, "microseconds at 50 tracks": micro, "seeds": chosen.seeds,
    }  # fmt: skip
    save("speed", result, where)


if __name__ == "__main__":
    main()

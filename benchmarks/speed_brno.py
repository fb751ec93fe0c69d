"""Speeds of real cars against light gates: BrnoCompSpeed (Sochor et al., IEEE T-ITS 2018).

python benchmarks/speed_brno.py ../shared/data/speed/brnocompspeed

Of each camera the data set gives distances measured on the road, lines across it, the true speed of every
car, and image tracks (points on the road). The calibration is fitted by least squares to the measured
distances, to the lane lines (along the road) and to the lines across, never to a true speed. Its standard
error has a share of each distance along the road, which are independent, the height of the contact point over
the road, and its residuals in pixels. The first two are chosen on two of SESSIONS, as those with the narrowest
intervals of which 95 % hold, and 90 % on each camera; as two sessions are few to know a spread from, they are widened
by Student's t, and judged on the third. Other sessions are judged by DEFAULTS. Peers in the same run, on the same
cars and points: the median of 5-frame steps, and first to last point. Matching is the published protocol's: by lane,
and within 0.2 s at the last line. Tracks of five points or fewer, and points within 10 pixels of the border, do not
count.

The data are for research: cite the authors, do not pass them on.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from bench import conditions, save, table

from edgevid.speed import homography
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.types import Tracks

SIZE = (1920, 1080)
TAPES, CONTACTS = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04), (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08)
"""Relative standard errors of one measured distance (where a mark ends, and the tape), and standard errors of the
height of contact points in meters, of which each fold takes one."""
DEFAULTS = (0.02, 0.04)
"""What was taken with all nine cameras of SESSIONS in view; the second is the estimator's."""
SESSIONS = ("session0", "session1", "session2")
FEW = {1: 12.71 / 1.96, 2: 4.30 / 1.96}
"""By the number of sessions, each one draw of a calibration's error: Student's t over the normal, both at 97.5 %."""
JOBS = 3
"""Cameras that are measured at a time."""
WRONG_KMH, SURE_KMH, AGREED_KMH = 5.0, 2.0, 2.0
"""Cars farther off with a smaller standard error are listed; on some of them the peers agree with ours."""
PUBLISHED = [
    ["published: Dubska 2014, automatic", "8.22", "7.87", "10.43", ""],
    ["published: Sochor 2017, automatic", "1.10", "0.97", "2.22", ""],
    ["published: Sochor, manual calibration", "1.04", "0.83", "2.35", ""],
    ["published: Kocur 2020, Transform3D", "0.75", "0.58", "", ""],
]
"""km/h: mean, median, 95th percentile, over the test split C (sessions 4 to 6): other cameras than these."""


def load(path: Path) -> Any:
    return json.loads(gzip.open(path, "rt").read())


def along(line: list[float]) -> np.ndarray:
    """(n, 2) points of a line a u + b v + c = 0 inside the image."""
    a, b, c = line
    u = np.linspace(0, SIZE[0], 400)
    v = np.linspace(0, SIZE[1], 400)
    points = np.column_stack([u, -(a * u + c) / b]) if abs(b) > abs(a) else np.column_stack([-(b * v + c) / a, v])
    inside = ((points >= 0) & (points <= SIZE)).all(1)
    return points[inside][:: max(1, inside.sum() // 5)]


class PlaneFit:
    """A plane from distances: x across the road, y along it, meters."""

    def __init__(self, truth: dict[str, Any]) -> None:
        rows = truth["distanceMeasurement"]
        self.first = np.array([r["p1"][:2] for r in rows])
        self.second = np.array([r["p2"][:2] for r in rows])
        self.meters = np.array([r["distance"] for r in rows])
        self.road = np.array([bool(r["toVP1"]) for r in rows])
        across = [along(line) for line in truth["measurementLines"]]
        lanes = [along(line) for line in truth["laneDivLines"]]
        self.lanes = [p for p in lanes if len(p) >= 3]
        self.across = [p for p in across if len(p) >= 3]

    def points(self) -> int:
        """Pixels that the plane is fitted to."""
        return 2 * len(self.meters) + sum(len(p) for p in [*self.lanes, *self.across])

    def start(self) -> np.ndarray:
        """(3, 3) ground to image from the two vanishing points and the mean scales."""
        v1 = vanishing(self.first[self.road], self.second[self.road])
        v2 = vanishing(self.first[~self.road], self.second[~self.road])
        origin = np.append(self.first.mean(0), 1.0)
        h = np.column_stack([v2, v1, origin])
        for axis, rows in ((0, ~self.road), (1, self.road)):
            g = np.linalg.inv(h)
            d = np.abs((homography.apply(g, self.second) - homography.apply(g, self.first))[rows, axis])
            h[:, axis] *= np.median(d / self.meters[rows])
        return h / h[2, 2]

    def residuals(self, h: np.ndarray) -> np.ndarray:
        """Pixels by which ends of distances and points of lines are missed."""
        g, out = np.linalg.inv(h), []
        for one, other in ((self.first, self.second), (self.second, self.first)):
            a, b = at(g, one), at(g, other)
            step = np.where(self.road[:, None], [0.0, 1.0], [1.0, 0.0]) * self.meters[:, None]
            step *= np.sign(((b - a) * step).sum(1))[:, None]
            out.append((at(h, a + step) - other).ravel() / np.sqrt(2))  # both ends count twice
        for lines, axis in ((self.lanes, 0), (self.across, 1)):
            for points in lines:
                place = at(g, points)
                moved = place.copy()
                moved[:, axis] = place[:, axis].mean()
                out.append((at(h, moved) - points).ravel() / np.sqrt(len(points)))
        return np.concatenate(out)

    def solve(self) -> np.ndarray:
        """(3, 3) ground to image by Levenberg-Marquardt."""
        h, damping = self.start(), 1e-3
        scale = np.abs(h) + 1e-9
        r = self.residuals(h)
        for _ in range(200):
            j = np.column_stack([
                (self.residuals(h + d) - self.residuals(h - d)) / 2e-6
                for d in (1e-6 * np.eye(9)[k].reshape(3, 3) * scale for k in range(9))
            ])  # fmt: skip
            a = j.T @ j
            change = np.linalg.solve(a + damping * np.diag(np.diag(a)) + 1e-12 * np.eye(9), -j.T @ r)
            tried = h + change.reshape(3, 3) * scale
            new = self.residuals(tried)
            if np.isfinite(new).all() and new @ new < r @ r:
                done = r @ r - new @ new < 1e-9 * (r @ r)
                h, r, damping = tried, new, damping / 4
                if done:
                    break
            else:
                damping *= 4
                if damping > 1e9:
                    break
        return h


def at(h: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points through a homography, also those behind the horizon of a bad guess."""
    lifted = np.column_stack([points, np.ones(len(points))]) @ h.T
    return lifted[:, :2] / lifted[:, 2:]


def vanishing(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3,) the point that all lines through the pairs meet in, as well as they do."""
    one = np.column_stack([first, np.ones(len(first))]) / [1000, 1000, 1]
    two = np.column_stack([second, np.ones(len(second))]) / [1000, 1000, 1]
    lines = np.cross(one, two)
    lines /= np.linalg.norm(lines[:, :2], axis=1)[:, None]
    point = np.linalg.svd(lines)[2][-1] * [1000, 1000, 1]
    return point / np.linalg.norm(point)


def calibration_of(truth: dict[str, Any]) -> tuple[CameraCalibration, float]:
    """The calibration of a camera and the standard error in pixels of each of its four corners.

    Valid between the first and the last line across, 5 % of the way inside them (at the lower line of many
    cameras the given points stop at the image's edge while the car drives on), over the lanes and one more
    on each side.
    """
    fit = PlaneFit(truth)
    h = fit.solve()
    r = fit.residuals(h)
    lines = [at(np.linalg.inv(h), points)[:, 1].mean() for points in fit.across]
    low, high = min(lines), max(lines)
    inside = 0.05 * (high - low)
    side = [at(np.linalg.inv(h), points)[:, 0].mean() for points in fit.lanes]
    corners = np.array([[x, y] for x, y in (
        (min(side) - 3.5, low + inside), (max(side) + 3.5, low + inside),
        (max(side) + 3.5, high - inside), (min(side) - 3.5, high - inside))])  # fmt: skip
    region = shapely.Polygon(at(h, corners)).intersection(shapely.box(10, 10, SIZE[0] - 10, SIZE[1] - 10))
    made = make_calibration(at(h, corners), corners, SIZE, region=region)
    return made, float(np.sqrt((r**2).mean() / fit.points() * 4))


def peers(calibration: CameraCalibration, car: dict[str, Any], fps: float) -> tuple[float, float]:
    """km/h by the median of 5-frame steps, and from first to last, over the points in the region."""
    points = np.column_stack([car["posX"], car["posY"]]).astype(float)
    inside = calibration.contains(points)
    place, time = calibration.to_ground(points[inside]), np.array(car["frames"])[inside] / fps
    if len(time) <= 5:
        return np.nan, np.nan
    step = np.hypot(*(place[5:] - place[:-5]).T) / (time[5:] - time[:-5])
    return 3.6 * float(np.median(step)), 3.6 * float(np.hypot(*(place[-1] - place[0])) / (time[-1] - time[0]))


def track_speeds(
    calibration: CameraCalibration, tracks: list[dict[str, Any]], fps: float, click_px: float
) -> dict[int, tuple[float, float]]:
    """Speed in km/h and its standard error of every track, by SpeedEstimator over all of them together; without the
    errors of the distances and of the contact's height, which `judge` adds as the estimator does."""
    frames: dict[int, list[tuple[int, float, float]]] = {}
    for car in tracks:
        for f, x, y in zip(car["frames"], car["posX"], car["posY"], strict=True):
            frames.setdefault(f, []).append((car["id"], x, y))
    made, found = SpeedEstimator(calibration, click_px=click_px, contact_m=0.0, sigma_limit_mps=1e3), {}
    for f in [*sorted(frames), max(frames) + 1]:
        rows = frames.get(f, [])  # none: every track ends
        n, zero = len(rows), np.zeros(len(rows))
        x, y = np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
        boxes = np.column_stack([x - 2, y - 2, x + 2, y]) if n else np.zeros((0, 4))
        given = Tracks.of(ids=[r[0] for r in rows], boxes=boxes, scores=zero + 1, labels=zero,
                          match=np.arange(n), age=zero, unseen=zero)  # fmt: skip
        for row in made.update(given, f / fps).track_speeds:
            if row.reason == 0:
                found[row.id] = (3.6 * row.mps, 3.6 * row.sigma)
    return found


def crossing(car: dict[str, Any], line: list[float], fps: float) -> tuple[float, np.ndarray] | None:
    """Time and place at which a track crosses a line, None where it does not."""
    points = np.column_stack([car["posX"], car["posY"]])
    side = points @ line[:2] + line[2]
    turn = np.flatnonzero(np.sign(side[1:]) != np.sign(side[:-1]))
    if not len(turn):
        return None
    k = int(turn[0])
    share = side[k] / (side[k] - side[k + 1])
    frames = car["frames"]
    return (frames[k] + share * (frames[k + 1] - frames[k])) / fps, points[k] + share * (points[k + 1] - points[k])


def match(truth: dict[str, Any], calibration: CameraCalibration, tracks: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """(track id, row of the true cars) by lane and within 0.2 s at the last line.

    Lanes of tracks are numbered across the road; the mapping to the numbers of the truth is learned from
    the cars that time alone pairs unambiguously.
    """
    fps, line = truth["fps"], truth["measurementLines"][0]
    edges = np.sort([calibration.to_ground(along(d))[:, 0].mean() for d in truth["laneDivLines"]])
    seen = []
    for car in tracks:
        found = crossing(car, line, fps) if len(car["frames"]) > 5 else None
        if found:
            lane = int(np.searchsorted(edges, calibration.to_ground(found[1][None])[0, 0]))
            seen.append((found[0], lane, car["id"]))
    true = []
    for row, car in enumerate(truth["cars"]):
        when = [i["videoTime"] for i in car["intersections"] if i["measurementLineId"] == 0]
        if car["valid"] and when and len(car["laneIndex"]) == 1:
            true.append((when[0], car["laneIndex"][0], row))
    times = np.array([s[0] for s in seen])
    votes: Counter[tuple[int, int]] = Counter()
    for when, lane, _ in true:
        near = np.flatnonzero(np.abs(times - when) < 0.2)
        if len(near) == 1:
            votes[lane, seen[near[0]][1]] += 1
    same = {lane: max((v, k[1]) for k, v in votes.items() if k[0] == lane)[1] for lane in {k[0] for k in votes}}
    pairs, used = [], set()
    for when, lane, row in true:
        near = [n for n in np.flatnonzero(np.abs(times - when) < 0.2)
                if seen[n][1] == same.get(lane) and n not in used]  # fmt: skip
        if near:
            best = min(near, key=lambda n: abs(times[n] - when))
            used.add(best)
            pairs.append((seen[best][2], row))
    return pairs


@dataclass(frozen=True, slots=True)
class Passages:
    """The cars of one camera."""

    name: str
    cars: int
    matched: int
    click_px: float
    height_m: float
    distances: int
    """Measured along the road."""
    rows: np.ndarray
    """(n, 6): track, km/h, sigma, true km/h, median of steps, first to last."""


def measure(folder: Path) -> Passages:
    truth, given = load(folder / "gt_data.json.gz"), load(folder / "system_dubska_bmvc14.json.gz")
    invalid = set(truth["invalidLanes"])
    calibration, click = calibration_of(truth)
    cars = {car["id"]: car for car in given["cars"]}
    pairs = [(track, truth["cars"][row]) for track, row in match(truth, calibration, given["cars"])]
    pairs = [(track, car) for track, car in pairs if not set(car["laneIndex"]) & invalid]
    found = track_speeds(calibration, [cars[track] for track, _ in pairs], truth["fps"], click)
    rows = [(track, *found[track], car["speed"], *peers(calibration, cars[track], truth["fps"]))
            for track, car in pairs if track in found]  # fmt: skip
    camera = calibration.camera()
    assert camera is not None
    return Passages(folder.name, sum(c["valid"] for c in truth["cars"]), len(pairs), click, camera.height_m,
                    int(PlaneFit(truth).road.sum()), np.array(rows, float))  # fmt: skip


def judge(given: Passages, tape: float, contact_m: float) -> dict[str, Any]:
    """Errors of one camera."""
    track, kmh, sigma, speed, median, ends = given.rows.T
    sigma = np.hypot(sigma, kmh * np.hypot(contact_m / given.height_m, tape / np.sqrt(max(1, given.distances))))
    ok = sigma <= np.maximum(2.0, 0.05 * kmh)
    track, kmh, sigma, speed, median, ends = (v[ok] for v in (track, kmh, sigma, speed, median, ends))
    e, wrong = kmh - speed, []
    a, both = np.abs(e), np.isfinite(median)
    for n in np.flatnonzero((a > WRONG_KMH) & (sigma < SURE_KMH)):
        agree = abs(median[n] - kmh[n]) < AGREED_KMH and abs(ends[n] - kmh[n]) < AGREED_KMH
        numbers = (kmh[n], sigma[n], speed[n], median[n], ends[n])
        wrong.append([given.name, int(track[n]), *(round(float(v), 1) for v in numbers), bool(agree)])
    return {
        "camera": given.name, "cars": given.cars, "matched": given.matched,
        "emitted": len(a), "mean": float(a.mean()), "median": float(np.median(a)),
        "p95": float(np.percentile(a, 95)), "worst": float(a.max()), "bias": float(e.mean()),
        "bias, percent": float(100 * (e / speed).mean()), "spread": float(np.std(e)),
        "within 95": float((a < 1.96 * sigma).mean()), "median half-width": float(1.96 * np.median(sigma)),
        "click px": given.click_px, "tape": tape, "contact": contact_m, "wrong": wrong,
        "errors": [round(float(v), 2) for v in e],
        "sigmas": [round(float(v), 2) for v in sigma],
        "median of steps": [round(float(v), 2) for v in (median - speed)],
        "compared": [round(float(v), 2) for v in e[both]],
    }  # fmt: skip


def choose(given: list[Passages]) -> tuple[float, float]:
    """The errors of distances and contacts with the narrowest intervals that hold."""
    found = []
    for tape, contact in product(TAPES, CONTACTS):
        judged = [judge(one, tape, contact) for one in given]
        every = summary(judged)
        holds = every["within 95"] >= 0.95 and min(j["within 95"] for j in judged) >= 0.9
        found.append((not holds, every["median half-width"] if holds else -every["within 95"], tape, contact))
    return min(found)[2:]


def folds(cameras: list[Passages]) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Each camera judged by what was chosen on the other two of SESSIONS, and a row a session."""
    judged, rows = [], []
    for session in dict.fromkeys(one.name.partition("_")[0] for one in cameras):
        out = [one for one in cameras if one.name.startswith(session)]
        others = [one for one in cameras if one not in out and one.name.startswith(SESSIONS)]
        tape, contact, few = *DEFAULTS, 1.0
        if session in SESSIONS and others:
            tape, contact = choose(others)
            few = FEW[len({one.name.partition("_")[0] for one in others})]
        here = [judge(one, few * tape, few * contact) for one in out]
        before = [judge(one, *DEFAULTS) for one in out]
        every, earlier, least = summary(here), summary(before), min(j["within 95"] for j in here)
        rows.append([session, f"{100 * tape:g} %, {100 * contact:g} cm", f"{few:.2f}", f"{100 * least:.0f} %",
                     f"{100 * every['within 95']:.1f} %", f"{every['median half-width']:.2f}",
                     f"{100 * every['emitted']:.1f} %", f"{100 * earlier['within 95']:.1f} %",
                     f"{earlier['median half-width']:.2f}"])  # fmt: skip
        judged += here
    return judged, rows


def summary(judged: list[dict[str, Any]]) -> dict[str, float]:
    """All cameras together; the median of steps on the same cars."""
    e, sigma, steps, same = (
        np.abs(np.concatenate([j[k] for j in judged])) for k in ("errors", "sigmas", "median of steps", "compared")
    )
    steps = steps[np.isfinite(steps)]
    return {
        "mean": e.mean(), "median": np.median(e), "p95": np.percentile(e, 95), "worst": e.max(),
        "within 95": (e < 1.96 * sigma).mean(), "median half-width": 1.96 * np.median(sigma),
        "emitted": len(e) / sum(j["matched"] for j in judged), "same mean": same.mean(),
        "same p95": np.percentile(same, 95), "steps mean": steps.mean(),
        "steps p95": np.percentile(steps, 95),
        "steps worst": steps.max(),
    }  # fmt: skip


def bars(judged: list[dict[str, Any]], every: dict[str, float]) -> list[list[str]]:
    least, wrong = min(judged, key=lambda j: j["within 95"]), [w for j in judged for w in j["wrong"]]
    alone = sum(not w[-1] for w in wrong)
    rows = [
        ("95 % intervals, least camera", "at least 90 %",
         f"{100 * least['within 95']:.0f} % ({least['camera']})",
         least["within 95"] >= 0.9),
        ("95 % intervals, all", "95 to 99.5 %", f"{100 * every['within 95']:.1f} %",
         0.95 <= every["within 95"] <= 0.995),
        ("median half-width, km/h", "at most 2.0", f"{every['median half-width']:.2f}",
         every["median half-width"] <= 2),
        ("mean error, km/h", f"at most {every['steps mean']:.2f}, of steps", f"{every['same mean']:.2f}",
         every["same mean"] <= every["steps mean"]),
        ("95th percentile, km/h", f"at most {every['steps p95']:.2f}, of steps", f"{every['same p95']:.2f}",
         every["same p95"] <= every["steps p95"]),
        ("matched cars with a speed", "at least 94 %", f"{100 * every['emitted']:.1f} %",
         every["emitted"] >= 0.94),
        ("over 5 km/h off, sigma under 2, peers disagree", "0", str(alone), alone == 0),
    ]  # fmt: skip
    return [[*row[:3], "met" if row[3] else "missed"] for row in rows]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--camera", action="append", help="only these (session1_left ...)")
    chosen = options.parse_args()
    folders = sorted(p.parent for p in chosen.data.glob("*/system_dubska_bmvc14.json.gz"))
    with ProcessPoolExecutor(JOBS) as pool:
        cameras = list(pool.map(measure, [p for p in folders if not chosen.camera or p.name in chosen.camera]))
    judged, split = folds(cameras)
    head = ["absolute error, km/h", "mean", "median", "95th percentile", "bias", "within 95 %",
            "95 % half-width", "cars"]  # fmt: skip
    rows = []
    for j in judged:
        cells = [f"{j[k]:.2f}" for k in ("mean", "median", "p95")]
        rows.append([f"edgevid, {j['camera']}", *cells, f"{j['bias']:+.2f}",
                     f"{100 * j['within 95']:.0f} %", f"{j['median half-width']:.2f}",
                     f"{j['emitted']} of {j['matched']}"])  # fmt: skip
    every = summary(judged)
    names = {
        "edgevid, all cameras": ("mean", "median", "p95"),
        "the same cars, median of steps": ("steps mean", "", "steps p95"),
    }
    for name, keys in names.items():
        ours = name.startswith("edgevid")
        rows.append([name, *(f"{every[k]:.2f}" if k else "" for k in keys), "",
                     f"{100 * every['within 95']:.1f} %" if ours else "",
                     f"{every['median half-width']:.2f}" if ours else "",
                     str(sum(j["emitted"] for j in judged))])  # fmt: skip
    rows += [[*row, "", "", ""] for row in PUBLISHED]
    print(table(head, rows), "\n")
    split.insert(0, ["evaluated on", "chosen on the others", "times", "95 %, least camera", "95 %, all",
                     "half-width, km/h", "cars emitted", "2 %, 4 cm: 95 %, all", "its half-width"])  # fmt: skip
    print(table(split[0], split[1:]), "\n")
    judgement = [["bar", "target", "measured", ""], *bars(judged, every)]
    print(table(judgement[0], judgement[1:]), "\n")
    wrong = [w for j in judged for w in j["wrong"]]
    print(
        table(["camera", "track", "ours", "sigma", "truth", "median of steps", "first to last", "peers agree"], wrong)
    )
    where = conditions()
    where["command"] = "python benchmarks/speed_brno.py ../shared/data/speed/brnocompspeed"
    if not chosen.camera:
        save("speed_brno", {"head": head, "rows": rows, "bars": judgement, "split": split, "cameras": judged}, where)


if __name__ == "__main__":
    main()

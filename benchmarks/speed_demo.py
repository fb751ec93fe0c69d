"""Speeds of people in the demo: the rendered street through the detector of the package, its whole record.

python benchmarks/speed_demo.py

Two people of this street run, at 10.8 and 11.2 km/h; the others walk at 1.0 to 1.7 m/s, at most 6.1 km/h, or stand;
they are 40 to 130 pixels high. Every emitted speed of a person counts: live, smoothed and of tracks. Its truth is the
speed of the person whose box overlaps the track's most, at the value's moment, or its mean over the track. The share
that holds is of the 95 % intervals.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from bench import conditions, save, table

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.pipeline import Pipeline
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.render import RenderedStreet
from edgevid.track import Tracker
from edgevid.viewer.config import rendered_calibration

KINDS = ("live", "smoothed", "track_speeds")
MOST_KMH, WALK_KMH, EMITTED_BEFORE = 7.0, 6.2, 345
"""No walker is faster than the second; so many values were emitted of an earlier street."""
LEAST_OVERLAP, NEAR_S = 0.4, 0.5


def main() -> None:
    street = RenderedStreet(seconds=20)
    estimator = SpeedEstimator(rendered_calibration(street.scene.camera))
    pipeline = Pipeline(Detector.load("street-nano"), Tracker(), speed_estimator=estimator)
    names, reports = pipeline.names["class"], []
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    truth: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for _, result in pipeline.run(street):
        tracks, true = result.tracks, street.scene.at(result.time)
        reports.append(result.speeds)
        overlap = iou(tracks.boxes.astype(float), true.boxes.astype(float))
        for i, label, match, row in zip(tracks.ids.tolist(), tracks.labels, tracks.match, overlap, strict=True):
            labels[i][names[label]] += 1
            if match >= 0 and row.max(initial=0) > LEAST_OVERLAP:
                truth[i].append((result.time, 3.6 * float(true.speeds[row.argmax()])))
    reports.append(estimator.flush())
    rows, judged = [], []
    for kind in KINDS:
        every, off = 0, []
        for row in (one for report in reports for one in getattr(report, kind)):
            if labels[row.id].most_common(1)[0][0] != "person":
                continue
            every += 1
            times, kmh = np.array(truth[row.id] or [(np.inf, np.nan)]).T
            near = int(np.abs(times - row.time).argmin())
            true_kmh = kmh.mean() if kind == "track_speeds" else kmh[near]
            if row.reason == 0 and (kind == "track_speeds" or abs(times[near] - row.time) <= NEAR_S):
                off.append((3.6 * row.mps, 3.6 * row.sigma, true_kmh))
        speed, sigma, true_kmh = np.array(off).reshape(-1, 3).T
        fast, walks = speed > MOST_KMH, true_kmh <= WALK_KMH
        outside = np.abs(speed - true_kmh) > 1.96 * sigma
        numbers = [int(n) for n in ((fast & ~walks).sum(), (fast & walks).sum(), (fast & walks & outside).sum())]
        judged.append((len(off), *numbers))
        rows.append([kind, str(every), str(len(off)), *map(str, numbers), f"{100 * (1 - outside.mean()):.0f} %"])
    head = ["speeds of people", "rows", "emitted", "above 7 km/h, runs", "above 7 km/h, walks",
            "of these, interval wrong", "95 % hold"]  # fmt: skip
    print(table(head, rows))
    emitted, _, walkers, wrong = (sum(column) for column in zip(*judged, strict=True))
    bars = [
        ["bar", "target", "measured", ""],
        ["walkers above 7 km/h", "0", str(walkers), "met" if walkers == 0 else "missed"],
        ["of these, interval does not hold the truth", "0", str(wrong), "met" if wrong == 0 else "missed"],
        ["emitted speeds", f"at least {EMITTED_BEFORE}", str(emitted),
         "met" if emitted >= EMITTED_BEFORE else "missed"],
    ]  # fmt: skip
    print(table(bars[0], bars[1:]))
    save("speed_demo", {"head": head, "rows": rows, "bars": bars}, conditions())


if __name__ == "__main__":
    main()

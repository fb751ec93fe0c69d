"""Speeds of people in the demo: the rendered street through the detector of the package, its whole record.

python benchmarks/speed_demo.py

Walkers, alone and in groups, go at 1.0 to 1.7 m/s, at most 6.1 km/h; they are 40 to 110 pixels high.
Every emitted speed of a person counts: live, smoothed and of tracks.
"""

from __future__ import annotations

import numpy as np
from bench import conditions, save, table

from edgevid.detect.detector import Detector
from edgevid.pipeline import Pipeline
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.render import RenderedStreet
from edgevid.track import Tracker
from edgevid.viewer.config import rendered_calibration

KINDS = ("live", "smoothed", "track_speeds")
MOST_KMH, EMITTED_BEFORE = 7.0, 345
"""No walker is faster; so many values were emitted of an earlier street, 32 of them above 9 km/h."""


def main() -> None:
    street = RenderedStreet(seconds=20)
    estimator = SpeedEstimator(rendered_calibration(street.scene.camera))
    pipeline = Pipeline(Detector.load("street-nano"), Tracker(), speed_estimator=estimator)
    names, kinds = pipeline.names["class"], {kind: [] for kind in KINDS}
    label: dict[int, str] = {}
    reports = []
    for _, result in pipeline.run(street):
        label |= {int(i): names[k] for i, k in zip(result.tracks.ids, result.tracks.labels, strict=True)}
        reports.append(result.speeds)
    reports.append(estimator.flush())
    for report in reports:
        for kind, kept in kinds.items():
            kept += [(row.mps * 3.6, row.sigma * 3.6, row.reason == 0) for row in getattr(report, kind)
                     if label.get(row.id) == "person"]  # fmt: skip
    rows, every = [], 0
    fast = 0
    for kind, kept in kinds.items():
        speed = np.array([v for v, _, ok in kept if ok])
        above = int((speed > MOST_KMH).sum())
        rows.append([kind, str(len(kept)), str(len(speed)), str(above), f"{speed.max(initial=0):.1f}"])
        every, fast = every + len(speed), fast + above
    head = ["speeds of people", "rows", "emitted", "above 7 km/h", "highest, km/h"]
    print(table(head, rows))
    judged = [
        ["bar", "target", "measured", ""],
        ["emitted speeds above 7 km/h", "0", str(fast), "met" if fast == 0 else "missed"],
        ["emitted speeds", f"at least {EMITTED_BEFORE}", str(every),
         "met" if every >= EMITTED_BEFORE else "missed"],
    ]  # fmt: skip
    print(table(judged[0], judged[1:]))
    save("speed_demo", {"head": head, "rows": rows, "bars": judged}, conditions())


if __name__ == "__main__":
    main()

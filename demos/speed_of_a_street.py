"""Measures speeds on a rendered street whose true speeds are known, and prints both.

python demos/speed_of_a_street.py [--seconds S]
"""

from __future__ import annotations

import argparse

import numpy as np

from edgevid import Pipeline, Reason, SpeedEstimator, Tracker, make_calibration
from edgevid.synthetic import RenderedDetector, RenderedStreet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    street = RenderedStreet(seconds=parser.parse_args().seconds)
    camera = street.scene.camera
    corners = np.array([[-7, 14], [7, 14], [7, 60], [-7, 60]], float)
    pixels = camera.project(np.column_stack([corners, np.zeros(4)]))
    speed_estimator = SpeedEstimator(make_calibration(pixels, corners, street.size))
    pipeline = Pipeline(RenderedDetector(street), Tracker(), speed_estimator=speed_estimator)
    print("rendered street; object: track speed ± standard error (true speeds in view), km/h")
    for _, result in pipeline.run(street):
        for track_speed in result.speeds.track_speeds:
            if track_speed.reason != Reason.OK:
                print(f"object {track_speed.id}: abstained, {track_speed.reason.description}")
                continue
            truth = street.scene.at(track_speed.time)
            print(f"object {track_speed.id}: {3.6 * track_speed.mps:5.1f} ±{3.6 * track_speed.sigma:.1f} "
                  f"(of {sorted(round(3.6 * float(v), 1) for v in truth.speeds)})")  # fmt: skip


if __name__ == "__main__":
    main()

"""Measures speeds on a rendered street whose true speeds are known, and prints both.

python demos/speed_of_a_street.py [--seconds S]
"""

from __future__ import annotations

import argparse

import numpy as np

from edgevid.pipeline import Pipeline
from edgevid.speed.calibration import make_survey
from edgevid.speed.estimator import SpeedMeter
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.track import Tracker
from edgevid.types import Reason


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=15.0)
    street = RenderedStreet(seconds=options.parse_args().seconds)
    camera = street.scene.camera
    corners = np.array([[-7, 14], [7, 14], [7, 60], [-7, 60]], float)
    pixels = camera.project(np.column_stack([corners, np.zeros(4)]))
    meter = SpeedMeter(make_survey(pixels, corners, street.size))
    pipeline = Pipeline(RenderedDetector(street), Tracker(), meter=meter)
    print("rendered street; object: measured (true) km/h over its whole passage")
    for _, result in pipeline.run(street):
        for passage in result.passages:
            if passage.reason != Reason.OK:
                print(f"object {passage.id}: silent, {Reason(passage.reason).words}")
                continue
            truth = street.scene.at(passage.time)
            print(f"object {passage.id}: {3.6 * passage.mps:5.1f} +-{3.6 * passage.sigma:.1f} "
                  f"(of {sorted(round(3.6 * float(v), 1) for v in truth.speeds)})")  # fmt: skip


if __name__ == "__main__":
    main()

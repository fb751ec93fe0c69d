"""Quality of the shipped detectors over their training: the averaged weights that it kept on the way.

    python benchmarks/detector_training_curve.py OUT DATA

OUT is that of benchmarks/street_nano.py, DATA the test data. AP50 as in benchmarks/detector_quality.py. The learning
rate falls to the end of the schedule: the weights of its middle are not those of a training half as long.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import torch
from bench import conditions, save, table
from detector_cases import eye, judge, photos, roads
from detector_data_curve import seer
from street_nano import BATCH, SHAPES
from tracker_peers import version

from edgevid.learn.detector.network import Deployed, StreetDetector


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("out", type=Path)
    options.add_argument("data", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    tests = [(f"{kind}, roads/val", kind, roads(given.data, kind)) for kind in ("car", "truck", "bus", "person")]
    tests.append(("person, photos", "person", photos(given.data)))
    tests.append(("car, by eye", "car", eye(given.data, "vehicle_counting_tf_input")))
    rows = []
    for size, shape in SHAPES.items():
        for path in sorted((given.out / size).glob("*.pt"), key=lambda p: p.stat().st_mtime):
            state = torch.load(path, map_location="cpu", weights_only=True)
            network = StreetDetector(shape)
            network.load_state_dict(state["average"])
            detect = Deployed(network).eval()
            figures = [judge(seer(detect, kind), cases) for _, kind, cases in tests]
            share = state["step"] / state["schedule"]["steps"] if state["step"] else 0.0  # begun with --start
            rows.append([size, f"{share:.0%}", f"{state['step'] * BATCH:,}", *(f"{v:.3f}" for v in figures)])
            print(rows[-1], flush=True)
    head = ["detector", "of the schedule", "images", *(name for name, _, _ in tests)]
    print(table(head, rows))
    where = conditions({"torch": version("torch")})
    where["command"] = "python benchmarks/detector_training_curve.py OUT DATA"
    save("detector_training_curve", {"head": head, "rows": rows}, where)


if __name__ == "__main__":
    main()

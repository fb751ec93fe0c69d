"""The shipped detectors against larger ones, on held-out images and clips.

    python benchmarks/detector_quality.py DATA          (DATA holds images/, videos/ and roads/)

AP50, each class on its own: on `roads/val` (170 images; people drew the vehicles, larger detectors the rest: the peers'
persons there are compared with their own kind), on the 22 labeled COCO val2017 photos that no training has seen (human
boxes of persons), and on 255 frames of two clips against boxes corrected by eye (benchmarks/labels/). At each model's
default score: the share of its persons on those photos that are right, and the share of the clip's cars that it finds
and of its cars that are right. Time: median of one run of the model alone, one thread, models taking turns. The
thresholds and the calibration of the shipped detectors were chosen on roads/val; nothing else was.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
from bench import conditions, save, table
from detector_cases import EYE, Case, at_default, eye, judge, only, photos, roads
from tracker_peers import version

from edgevid.detect.detector import Detector
from edgevid.types import Detections, Frame

MODELS = ("street-nano", "street-small", "yolox-nano-416", "picodet-s-416")
RULER = "yolox-nano-416"
"""Whose time the ratios are of."""


def seer(model: Detector, expected: str) -> Callable[[Frame], Detections]:
    """The model as a function from a frame to its detections of one class."""
    return lambda frame: only(model.detect([frame])[0], model.names, expected)


def times(models: dict[str, Detector]) -> dict[str, float]:
    """Median milliseconds of one run of each model alone."""
    spent: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(60):
        for name, model in models.items():
            inputs = {s.name: np.zeros([max(1, n) for n in s.shape], s.dtype) for s in model.engine.inputs}
            begin = time.perf_counter()
            model.engine.run(inputs)
            spent[name].append(time.perf_counter() - begin)
    return {name: 1000 * float(np.median(taken[5:])) for name, taken in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", help="only these, separated by commas; nothing is saved without --save")
    parser.add_argument("--save", help="name of another result file")
    parser.add_argument(
        "--apart", action="store_true", help="boxes of different classes on one object stay; saved with --save"
    )
    options = parser.parse_args()
    names = options.models.split(",") if options.models else MODELS
    rule: dict[str, Any] = {"same_object_iou": None} if options.apart else {}
    loaded = [Detector.load(name, score_threshold=0.02, threads=1, **rule) for name in names]
    models = {Path(n).parent.name if "/" in n else n: one for n, one in zip(names, loaded, strict=True)}
    plain = [Detector.load(name, threads=1) for name in names]
    tests: list[tuple[str, str, Sequence[Case]]] = [
        (f"{kind}, roads/val", kind, cases)
        for kind in ("car", "truck", "bus", "motorcycle", "person")
        for cases in [roads(options.data, kind)]
    ]
    stills = photos(options.data)
    tests.append((f"person, {len(stills)} photos", "person", stills))
    clips = {expected: eye(options.data, name) for name, expected in EYE}
    tests += [(f"{kind}, {len(cases)} frames by eye", kind, cases) for kind, cases in clips.items()]
    head = ["held out", *(title for title, _, _ in tests)]
    head += ["precision of persons, photos", "recall of cars, by eye", "precision of cars, by eye"]
    rows = []
    for (name, model), default in zip(models.items(), plain, strict=True):
        row = [f"{judge(seer(model, kind), cases):.3f}" for _, kind, cases in tests]
        right, given, _ = at_default(seer(default, "person"), stills)
        row.append(f"{right / max(given, 1):.2f} ({right} of {given})")
        right, given, true = at_default(seer(default, "car"), clips["car"])
        rows.append([name, *row, f"{right / true:.2f}", f"{right / max(given, 1):.2f}"])
        print(rows[-1], flush=True)
    spent = times(models | {RULER: Detector.load(RULER, threads=1)})
    for row in rows:
        row += [f"{spent[row[0]]:.2f}", f"{spent[row[0]] / spent[RULER]:.2f}"]
    head += ["ms, one thread", "of YOLOX-nano's time"]
    print(table(head, rows))
    where = conditions({"onnxruntime": version("onnxruntime")})
    where["command"] = "python benchmarks/detector_quality.py DATA"
    if options.save:
        said = ",".join("/".join(["OUT", *Path(n).parts[-2:]]) if "/" in n else n for n in names)
        where["command"] += f" --models {said}{' --apart' * options.apart} --save {options.save}"
    if options.save or not (options.models or options.apart):
        save(options.save or "detector_quality", {"head": head, "rows": rows}, where)


if __name__ == "__main__":
    main()

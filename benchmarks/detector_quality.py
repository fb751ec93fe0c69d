"""The shipped detector against larger detectors and peers, on held-out images and clips.

    python benchmarks/detector_quality.py DATA          (DATA holds images/ and videos/)

Photos: person AP50 against human boxes on the labeled COCO val2017 photos that were held out of training
(every second labeled photo, by number). Clips, by eye: AP50 against the boxes of benchmarks/labels/, 255
frames of two held-out clips; the files say how they were made. Clips, by ensemble: AP50 against the labels
of an ensemble of three permissively licensed detectors (fused score 0.4; 0.15 to 0.4 is ignored) on the same
two clips; its members are compared with themselves there, so their figures are no independent measure. Time:
median of one run of the model alone, one thread, models taking turns.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
from bench import conditions, save, table
from detector_cases import EYE, Case, eye, judge, photos
from tracker_peers import version

from edgevid.detect.detector import Detector
from edgevid.learn.detector.label import IGNORE_SCORE, LABEL_SCORE, Ensemble, smooth_scores
from edgevid.learn.detector.network import CLASSES
from edgevid.types import Detections, Frame
from edgevid.video.open import open_video

SHIPPED = "street-nano"
MODELS = (SHIPPED, "yolox-nano-416", "nanodet-m-416", "picodet-s-416", "fastestdet-352")
LABELERS = ("picodet-s-416", "nanodet-m-416", "yolox-nano-416")
CLIPS = (("vehicle_counting_tf_input.mp4", "car", 0.4), ("intel_one-by-one-person-detection.mp4", "person", 1.0))
RULER = "yolox-nano-416"
"""Whose time the ratios are of."""


def ensemble_cases(path: Path, expected: str, every_s: float, kept: Path | None) -> list[Case]:
    """Frames of a clip with the ensemble's labels, read from `kept` if they are there."""
    frames, due = [], 0.0
    with open_video(path) as video:
        for frame in video:
            if frame.time >= due:
                due += every_s
                frames.append(Frame(frame.image.copy(), frame.time, frame.index))
    file = kept / f"{path.stem}.npz" if kept else None
    labeled = _read(file) if file and file.exists() else _labels(frames)
    if file and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        columns = ((d.boxes, d.scores, d.labels) for d in labeled)
        np.savez(file, **{f"{n}-{k}": c for n, row in enumerate(columns) for k, c in enumerate(row)})
    cases = []
    for frame, found in zip(frames, labeled, strict=True):
        mine = only(found, CLASSES, expected)
        ignored = (found.scores >= IGNORE_SCORE) & (found.scores < LABEL_SCORE)
        cases.append(Case(frame, mine.boxes[mine.scores >= LABEL_SCORE], found.boxes[ignored]))
    return cases


def _labels(frames: list[Frame]) -> list[Detections]:
    ensemble = Ensemble([Detector.load(t, score_threshold=0.05, threads=1) for t in LABELERS], CLASSES)
    return smooth_scores([(frame.time, ensemble.detect(frame.image)) for frame in frames])


def _read(file: Path) -> list[Detections]:
    held = np.load(file)
    rows = [[held[f"{n}-{k}"] for k in range(3)] for n in range(len(held) // 3)]
    return [Detections(boxes=b, scores=s, labels=label) for b, s, label in rows]


def only(found: Detections, names: tuple[str, ...], expected: str) -> Detections:
    return found[found.labels == list(names).index(expected)]


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
    parser.add_argument("--kept", type=Path, help="folder that keeps the ensemble's labels between runs")
    options = parser.parse_args()
    data = options.data
    models = {name: Detector.load(name, score_threshold=0.02, threads=1) for name in MODELS}
    given = photos(data)
    tests = [(f"person, {len(given)} photos", "person", given)]
    for name, expected in EYE:
        cases = eye(data, name)
        tests.append((f"{expected}, {len(cases)} frames by eye", expected, cases))
    for file, expected, every in CLIPS:
        cases = ensemble_cases(data / "videos" / file, expected, every, options.kept)
        tests.append((f"{expected}, {len(cases)} frames by ensemble", expected, cases))
    rows = {
        name: [f"{judge(seer(model, expected), cases):.3f}" for _, expected, cases in tests]
        for name, model in models.items()
    }
    spent = times(models)
    for name, row in rows.items():
        row += [f"{spent[name]:.2f}", f"{spent[name] / spent[RULER]:.2f}"]
    head = ["held out", *(title for title, _, _ in tests), "ms, one thread", "of YOLOX-nano's time"]
    cells = [[name, *row] for name, row in rows.items()]
    print(table(head, cells))
    where = conditions({"onnxruntime": version("onnxruntime")})
    where["command"] = "python benchmarks/detector_quality.py DATA"
    save("detector_quality", {"head": head, "rows": cells}, where)


if __name__ == "__main__":
    main()

"""The detector that ships beside its teachers and peers, on pictures and clips that its training never saw.

    python benchmarks/detector_quality.py DATA          (DATA holds images/ and videos/)

Photos: person AP50 against human boxes on the labelled COCO val2017 photos that were held out of training
(every second labelled photo, by number). Clips: AP50 against what an ensemble of three permissive teachers
agrees on (fused score 0.4; 0.15 to 0.4 counts neither way) on two clips held out whole; a teacher is judged
there by itself and its peers, so its figures are no independent measure. Time: median of one run of the model
alone, one thread, models taking turns.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
from bench import conditions, save, table
from tracker_peers import version

from edgevid.detect import Detector
from edgevid.kernels import iou
from edgevid.learn.detector import CLASSES
from edgevid.learn.detector_label import DOUBTFUL, SURE, Ensemble, smooth
from edgevid.types import Detections, Frame
from edgevid.video import open_video, read_image

SHIPPED = "street-nano"
MODELS = (SHIPPED, "yolox-nano-416", "nanodet-m-416", "picodet-s-416", "fastestdet-352")
TEACHERS = ("picodet-s-416", "nanodet-m-416", "yolox-nano-416")
CLIPS = (
    ("vehicle_counting_tf_input.mp4", "car", 0.2),
    ("intel_one-by-one-person-detection.mp4", "person", 0.5),
)


def average_precision(cases: list[tuple[Detections, np.ndarray, np.ndarray]]) -> float:
    """AP50, 101 recalls, of (detections of one class, true boxes, boxes that count neither way)."""
    scored: list[tuple[float, bool]] = []
    total = 0
    for found, truth, neither in cases:
        total += len(truth)
        free = np.ones(len(truth), bool)
        for row in np.argsort(-found.scores, kind="stable"):
            box = found.boxes[row : row + 1]
            match = np.where(free, iou(box, truth)[0], 0.0) if len(truth) else np.zeros(0)
            if len(match) and match.max() >= 0.5:
                free[match.argmax()] = False
                scored.append((float(found.scores[row]), True))
            elif not len(neither) or iou(box, neither).max() < 0.3:
                scored.append((float(found.scores[row]), False))
    if not total or not scored:
        return 0.0
    hits = np.cumsum([hit for _, hit in sorted(scored, key=lambda s: -s[0])])
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    recall = hits / total
    return float(np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)]))


def photos(data: Path) -> list[tuple[Frame, np.ndarray]]:
    """Held-out photos with human person boxes."""
    labels = sorted((data / "images" / "coco_val2017_100_person_kpt_labels").glob("*.txt"))[::2]
    cases = []
    for path in labels:
        image = read_image(data / "images" / "coco_val2017_100" / f"{path.stem}.jpg")
        if image is None:
            continue
        rows = np.array([[float(v) for v in line.split()[1:5]] for line in path.read_text().splitlines()])
        size = np.array([image.shape[1], image.shape[0]] * 2)
        rows = rows.reshape(-1, 4)
        boxes = np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], 1) * size
        cases.append((Frame(image, 0.0, 0), boxes.astype(np.float32)))
    return cases


def clip(path: Path, every_s: float, ensemble: Ensemble) -> list[tuple[Frame, Detections]]:
    """Frames of a clip and what the teachers agree on."""
    frames, due = [], 0.0
    with open_video(path) as video:
        for frame in video:
            if frame.time >= due:
                due += every_s
                frames.append(Frame(frame.image.copy(), frame.time, frame.index))
    seen = [(frame.time, ensemble.look(frame.image)) for frame in frames]
    return list(zip(frames, smooth(seen), strict=True))


def only(found: Detections, names: tuple[str, ...], wanted: str) -> Detections:
    return found[found.labels == list(names).index(wanted)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    data = options.parse_args().data
    models = {name: Detector.load(name, score=0.02, threads=1) for name in MODELS}
    ensemble = Ensemble([Detector.load(t, score=0.05, threads=1) for t in TEACHERS], CLASSES)
    rows: dict[str, list[float]] = {name: [] for name in MODELS}
    given = photos(data)
    for name, model in models.items():
        cases = [
            (only(model.detect([frame])[0], model.names, "person"), truth, np.zeros((0, 4), np.float32))
            for frame, truth in given
        ]
        rows[name].append(average_precision(cases))
    for file, wanted, every in CLIPS:
        seen = clip(data / "videos" / file, every, ensemble)
        for name, model in models.items():
            cases = []
            for frame, agreed in seen:
                mine = only(agreed, CLASSES, wanted)
                sure = mine.scores >= SURE
                neither = agreed.boxes[(agreed.scores >= DOUBTFUL) & (agreed.scores < SURE)]
                cases.append((only(model.detect([frame])[0], model.names, wanted), mine.boxes[sure], neither))
            rows[name].append(average_precision(cases))
    spent: dict[str, list[float]] = {name: [] for name in MODELS}
    for _ in range(40):
        for name, model in models.items():
            inputs = {s.name: np.zeros([max(1, n) for n in s.shape], s.dtype) for s in model.engine.inputs}
            begin = time.perf_counter()
            model.engine.run(inputs)
            spent[name].append(time.perf_counter() - begin)
    for name in MODELS:
        rows[name].append(1000 * float(np.median(spent[name][5:])))
    head = ["held out", f"person, {len(given)} photos", *(f"{w}, {f}" for f, w, _ in CLIPS), "ms, one thread"]
    cells = [[name, *(f"{v:.3f}" for v in values[:-1]), f"{values[-1]:.2f}"] for name, values in rows.items()]
    print(table(head, cells))
    where = conditions({"onnxruntime": version("onnxruntime")})
    save(
        "detector_quality",
        {"head": head, "rows": cells},
        where | {"command": "python benchmarks/detector_quality.py DATA"},
    )


if __name__ == "__main__":
    main()

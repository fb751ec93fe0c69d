"""Drawing 50 boxes with labels on a 1080p image: edgevid's overlay compared with supervision and Ultralytics.

    python benchmarks/overlay.py        (peers: pip install supervision ultralytics)

Every contender gets the same moving boxes, ids, classes and scores, copies the image first, and draws a box
and a label with class and id, the peers with the score too. Interleaved rounds in one process on one thread,
medians per frame, in CPU time of this thread, so that other programs
do not count. Peers are called from their packages, as their own documentation does.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import cv2
import numpy as np
from bench import conditions, save, table

from edgevid.output.ground_grid import GridOverlay
from edgevid.output.overlay import Overlay
from edgevid.speed import read_calibration
from edgevid.types import Detections, Frame, Reason, Result, SpeedReport, Speeds, Tracks, Verdicts

OBJECTS, FRAMES, ROUNDS = 50, 40, 5
CALIBRATION = Path(__file__).resolve().parents[1] / "calibration" / "camera" / "gantry_road.toml"
NAMES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
PACKAGES = ("numpy", "opencv-python-headless", "opencv-python", "supervision", "ultralytics")
Draw = Callable[[np.ndarray, Tracks, int], Any]


def scene() -> tuple[list[np.ndarray], list[Tracks]]:
    """Images with some texture, and boxes that move by a few pixels from one to the next."""
    rng = np.random.default_rng(0)
    small = rng.integers(40, 200, (68, 120, 3), np.uint8)
    image = cv2.resize(small, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    corner, size = rng.uniform((0, 60), (1700, 900), (OBJECTS, 2)), rng.uniform(50, 170, (OBJECTS, 2))
    speed, labels = rng.normal(0, 3, (OBJECTS, 2)), rng.integers(0, len(NAMES), OBJECTS)
    images, tracks = [], []
    for n in range(FRAMES):
        at = corner + n * speed
        tracks.append(
            Tracks.of(
                ids=np.arange(1, OBJECTS + 1), boxes=np.concatenate([at, at + size], 1),
                scores=rng.uniform(0.5, 0.99, OBJECTS), labels=labels, match=np.arange(OBJECTS),
                age=np.full(OBJECTS, 1.0), unseen=np.zeros(OBJECTS),
            )
        )  # fmt: skip
        images.append(np.roll(image, 3 * n, 1))
    return images, tracks


def ours(overlay: Overlay, *, values: bool = False) -> Draw:
    """With `values` each label also has an action and a speed with its error, new ones in each frame."""
    moments, rng, none, walk = count(), np.random.default_rng(1), np.zeros(OBJECTS), np.arange(OBJECTS) % 3
    cruise = rng.uniform(2, 25, OBJECTS)

    def draw(image: np.ndarray, tracks: Tracks, n: int) -> np.ndarray:
        n = next(moments)  # a stream's time never goes back: trails end by it
        more: dict[str, Any] = {}
        if values:
            speeds = Speeds.of(ids=tracks.ids, mps=cruise + rng.normal(0, 0.3, OBJECTS), sigma=none + 0.5,
                               heading=none, time=none + n / 25, reason=none)  # fmt: skip
            reason = np.where(walk == 2, Reason.TOO_SMALL, Reason.OK)
            verdicts = Verdicts.of(ids=tracks.ids, labels=np.where(walk == 2, -1, walk),
                                   confidence=rng.uniform(0.6, 0.99, OBJECTS), reason=reason)  # fmt: skip
            more = {"speeds": SpeedReport(speeds), "verdicts": {"action": verdicts}}
        result = Result(
            frame_index=n, time=n / 25, size=(1920, 1080), detections=Detections.empty(), tracks=tracks,
            names={"class": NAMES, "action": ("walk", "run")}, **more,
        )  # fmt: skip
        return overlay.draw(Frame(image, n / 25, n), result)

    return draw


def supervision() -> Draw:
    import supervision as sv

    boxes, labels = sv.BoxAnnotator(), sv.LabelAnnotator()

    def draw(image: np.ndarray, tracks: Tracks, n: int) -> np.ndarray:
        found = sv.Detections(tracks.boxes, confidence=tracks.scores, class_id=tracks.labels, tracker_id=tracks.ids)
        rows = zip(tracks.ids, tracks.labels, tracks.scores, strict=True)
        texts = [f"#{i} {NAMES[k]} {s:.2f}" for i, k, s in rows]
        return labels.annotate(boxes.annotate(image.copy(), found), found, texts)

    return draw


def ultralytics_annotator() -> Draw:
    from ultralytics.utils.plotting import Annotator, colors

    def draw(image: np.ndarray, tracks: Tracks, n: int) -> np.ndarray:
        annotator = Annotator(image.copy())
        for i, box, k, s in zip(tracks.ids, tracks.boxes, tracks.labels, tracks.scores, strict=True):
            annotator.box_label(box, f"id:{i} {NAMES[k]} {s:.2f}", color=colors(int(k), True))
        return annotator.result()

    return draw


def ultralytics_plot() -> Draw:
    import torch
    from ultralytics.engine.results import Results

    torch.set_num_threads(1)
    names = dict(enumerate(NAMES))

    def draw(image: np.ndarray, tracks: Tracks, n: int) -> np.ndarray:
        rows = np.column_stack([tracks.boxes, tracks.ids, tracks.scores, tracks.labels])
        return Results(image, path="", names=names, boxes=torch.from_numpy(rows.astype(np.float32))).plot()

    return draw


CONTENDERS: dict[str, Callable[[], Draw]] = {
    "edgevid Overlay: boxes and labels": lambda: ours(Overlay(trail_s=0.0, show_status=False)),
    "edgevid Overlay, with trails and status": lambda: ours(Overlay()),
    "edgevid Overlay, with trails, status, actions and speeds": lambda: ours(Overlay(), values=True),
    "edgevid GridOverlay, with trails, status and ground grid": lambda: ours(
        GridOverlay(read_calibration(CALIBRATION).scaled_to((1920, 1080)))
    ),
    "supervision BoxAnnotator + LabelAnnotator": supervision,
    "Ultralytics Annotator.box_label": ultralytics_annotator,
    "Ultralytics Results.plot": ultralytics_plot,
}


def main() -> None:
    cv2.setNumThreads(1)
    found = {p: metadata.version(p) for p in PACKAGES if any(metadata.distributions(name=p))}
    where, (images, tracks) = conditions(found), scene()
    draws: dict[str, Draw] = {}
    absent: dict[str, str] = {}
    for name, make in CONTENDERS.items():
        try:
            draws[name] = make()
        except ImportError as error:
            absent[name] = str(error)
            continue
        shown = draws[name](images[0], tracks[0], 0)
        if folder := os.environ.get("SHOW"):  # for a person to compare what was drawn
            cv2.imwrite(str(Path(folder) / f"{len(draws)}.png"), shown[:, :, ::-1])
    times: dict[str, list[float]] = {name: [] for name in draws}
    random.seed(0)
    for _ in range(ROUNDS):
        for n, (image, one) in enumerate(zip(images, tracks, strict=True)):
            for name in random.sample(list(draws), len(draws)):  # the first one finds a cold image
                draw = draws[name]
                started = time.thread_time()
                draw(image, one, n)
                times[name].append(time.thread_time() - started)
    ms = {name: 1000 * statistics.median(taken) for name, taken in times.items()}
    first = next(iter(ms.values()))
    rows = [[name, f"{value:.2f}", f"{value / first:.1f}"] for name, value in ms.items()]
    rows += [[name, "not run", why] for name, why in absent.items()]
    head = ["50 boxes and labels on 1080p", "CPU ms/frame", "times the first"]
    print(table(head, rows))
    print(save("overlay", {"head": head, "rows": rows}, where))


if __name__ == "__main__":
    main()

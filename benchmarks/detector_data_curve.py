"""Quality of the small detector against the amount of data: a quarter, half and all of the scenes.

    python benchmarks/detector_data_curve.py TRAIN DATA

TRAIN holds images/ and labels/ as benchmarks/street_nano.py writes them, DATA images/ and videos/.

Each share is trained from nothing for the same number of equally large batches, at a smaller input than the
shipped one so that the curve takes minutes, not hours: the figures are below the shipped detector's and only
their order is meaningful. Scenes are real ones (rendered frames left out), whole clips or photos, nested:
the half contains the quarter. Evaluated like benchmarks/detector_quality.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
import torch
from bench import conditions, save, table
from detector_cases import EYE, Case, eye, judge, photos
from tracker_peers import version

from edgevid import kernels
from edgevid.detect.preprocess import Preprocessor
from edgevid.learn.detector.data import Composer, Sample, load
from edgevid.learn.detector.network import CLASSES, Deployed, Shape
from edgevid.learn.detector.train import Schedule, Trainer
from edgevid.runtime.engine import InputSpec
from edgevid.types import Array, Detections, Frame

SHAPE = Shape(320, 192)
SHARES = (0.25, 0.5, 1.0)
MIN_SCORE = 0.02
"""Lowest score of a detection."""


def scenes(samples: list[Sample], share: float) -> list[Sample]:
    """The images of a share of the clips and of the photos: nested, in an order drawn once."""
    real = [p for p in samples if not p.clip.startswith("rendered")]
    count = {clip: sum(p.clip == clip for p in real) for clip in sorted({p.clip for p in real})}
    kept: set[str] = set()
    for group in ([c for c, n in count.items() if n > 1], [c for c, n in count.items() if n == 1]):
        order = np.random.default_rng(5).permutation(group)
        kept |= set(order[: max(1, round(share * len(order)))].tolist())
    return [p for p in real if p.clip in kept]


def detect_image(network: Deployed, image: Array, *, nms_iou: float = 0.5) -> Detections:
    """Detections of a network before its export in `image` (H, W, 3) uint8 RGB, in its pixels."""
    shape = network.network.shape
    planes, (fit,) = Preprocessor(InputSpec(shape.width, shape.height))([Frame(image, 0.0, 0)])
    with torch.no_grad():
        out = network(torch.from_numpy(planes))[0].numpy()
    boxes, scores, labels = kernels.decode_columns(
        np.ascontiguousarray(out[:4]), np.ascontiguousarray(out[4:]), MIN_SCORE
    )
    kept = kernels.nms(boxes, scores, labels, nms_iou)
    return Detections(boxes=fit.inverse(boxes[kept]), scores=scores[kept], labels=labels[kept])


def seer(network: Deployed, expected: str) -> Callable[[Frame], Detections]:
    """The trained network as a function from a frame to detections of one class."""
    label = CLASSES.index(expected)

    def detect(frame: Frame) -> Detections:
        found = detect_image(network, frame.image, nms_iou=0.6)
        return found[found.labels == label]

    return detect


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("train", type=Path)
    options.add_argument("data", type=Path)
    options.add_argument("--steps", type=int, default=4000)
    options.add_argument("--work", type=Path, default=Path("runs/detector-curve"))
    given = options.parse_args()
    torch.set_num_threads(1)
    samples = load(given.train, CLASSES)
    tests: list[tuple[str, str, list[Case]]] = [("person, photos", "person", photos(given.data))]
    tests += [(f"{expected}, {name}", expected, eye(given.data, name)) for name, expected in EYE]
    rows = []
    for share in SHARES:
        kept = scenes(samples, share)
        composer = Composer(kept, SHAPE.width, SHAPE.height, seed=3)
        schedule = Schedule(steps=given.steps, batch=16, seed=3, ema_decay=0.998)
        trainer = Trainer(composer, schedule, SHAPE)
        folder = given.work / f"{share:.2f}"
        folder.mkdir(parents=True, exist_ok=True)
        trainer.run(folder / "checkpoint.pt")
        network = Deployed(trainer.average).eval()
        figures = [judge(seer(network, expected), cases) for _, expected, cases in tests]
        count = f"{len({p.clip for p in kept})}"
        rows.append([f"{share:.0%}", count, f"{len(kept)}", *(f"{v:.3f}" for v in figures)])
        print(rows[-1], flush=True)
    head = ["share", "scenes", "images", *(name for name, _, _ in tests)]
    print(table(head, rows))
    where = conditions({"torch": version("torch")}) | {
        "command": "python benchmarks/detector_data_curve.py TRAIN DATA",
        "training": f"{given.steps} batches of 16 at {SHAPE.width}x{SHAPE.height} from nothing, seed 3",
    }
    save("detector_data_curve", {"head": head, "rows": rows}, where)


if __name__ == "__main__":
    main()

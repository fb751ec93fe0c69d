"""Fits and judges the weights of edgevid/synthetic/render.py on rendered streets that the demo does not show.

    python benchmarks/street_motion.py

People who stand, walk, run and wave, at random places of streets from random cameras; their boxes have the
jitter of a detector (2 px, correlated over 0.15 s). Softmax regression by Newton's method, ridge 1e-3;
accuracy on the third of the streets that is left out.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.learn.detector.label import random_camera
from edgevid.synthetic.render import RenderedStreet, features
from edgevid.synthetic.scene import ACTIONS, Mover, Noise, Scene
from edgevid.types import Frame, Tracks
from edgevid.viewer.config import MOTION_CLIPS

PACE = {"stand": (0.0, 0.0), "walk": (0.9, 1.8), "run": (2.5, 4.0), "wave": (0.0, 0.0)}


def scene(seed: int) -> Scene:
    """24 people on the sidewalks of one street."""
    random = np.random.default_rng(seed)
    movers = []
    for n in range(24):
        kind = ACTIONS[n % 4]
        place = (float(random.uniform(7.8, 11)) * random.choice([-1, 1]), float(random.uniform(12, 42)))
        heading = float(random.choice([math.pi / 2, -math.pi / 2, random.uniform(0, 2 * math.pi)]))
        movers.append(Mover(n + 1, "person", place, heading, float(random.uniform(*PACE[kind])), waves=kind == "wave"))
    return Scene(movers, random_camera(random), Noise(2.0, 0.15), seed)


def samples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and true actions of the clips of three seconds of one street."""
    street, buffer = RenderedStreet(scene(seed), seconds=3.0, fps=12.5), ClipBuffer(MOTION_CLIPS)
    rows, truths = [], []
    for time, (truth, found, ids) in zip(street.times, street.scene.simulate(street.times), strict=True):
        count = len(ids)
        tracks = Tracks.of(
            ids=ids, boxes=found.boxes, scores=found.scores, labels=found.labels, match=np.arange(count),
            age=np.full(count, time), unseen=np.zeros(count),
        )  # fmt: skip
        clips = buffer.update(Frame(street.render(time), time, 0), tracks)
        if len(clips):
            done = dict(zip(truth.ids.tolist(), truth.actions.tolist(), strict=True))
            rows.append(features(clips))
            truths += [done[i] for i in clips.ids.tolist()]
    return (np.concatenate(rows), np.array(truths)) if rows else (np.zeros((0, 6)), np.zeros(0, int))


def fit(rows: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """(F, 4) weights."""
    count = rows.shape[1]
    weights, wanted = np.zeros((count, 4)), np.eye(4)[truths]
    for _ in range(30):
        logits = rows @ weights
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        slope = rows.T @ (share - wanted) / len(rows) + 1e-3 * weights
        curve = np.zeros((4 * count, 4 * count))
        for a in range(4):
            for b in range(4):
                part = share[:, a] * ((a == b) - share[:, b])
                curve[a * count : (a + 1) * count, b * count : (b + 1) * count] = (
                    (rows * part[:, None]).T @ rows / len(rows)
                )
        step = np.linalg.solve(curve + 1e-3 * np.eye(len(curve)), slope.T.ravel())
        weights -= step.reshape(4, count).T
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streets", type=int, default=12)
    streets = parser.parse_args().streets
    found = [samples(9000 + n) for n in range(streets)]
    held = streets // 3
    rows, truths = (np.concatenate([one[k] for one in found[held:]]) for k in (0, 1))
    weights = fit(rows, truths)
    rows, truths = (np.concatenate([one[k] for one in found[:held]]) for k in (0, 1))
    logits = rows @ weights
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    print(np.array2string(weights.round(2), separator=", "))
    for least in (0.0, 0.6, 0.8):
        sure = share.max(1) >= least
        right = share.argmax(1)[sure] == truths[sure]
        print(f"confidence from {least}: {sure.mean():.0%} of {len(truths)} emitted, {right.mean():.0%} right")


if __name__ == "__main__":
    main()

"""Would a detector's classes tell a box of nothing known better than its score does?

    python benchmarks/unlike_boxes.py DATA          (DATA holds images/ and roads/)

A box is known where it overlaps a true box of its class by an IoU of 0.5; confused where it does so with one of
another class; unknown where it overlaps no true box by 0.3. `roads/val`: 170 images, boxes of six classes. Photos: the
55 COCO val2017 photos with human boxes of persons; only boxes of persons are judged. Measures of a box, from the class
outputs of the cell that gave it: its score, the margin over the second class, the energy (log of the sum of the odds
of all classes), the entropy, the sum of the scores of the overlapping cells that agree with it (all, or those above
the detector's own score, which is all that its decoder hands on), and a logistic regression of all of them, fitted on
the other half of the images. Each is an AUROC of known boxes against the others of a detector's boxes above a score of
0.1, and above its own; intervals by bootstrap over images, of the gain over the score. A conformal p-value of a measure
orders boxes as the measure does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table
from detector_cases import NOTHING, Case, photos
from sklearn.linear_model import LogisticRegression
from unlike import auroc

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.learn.detector.data import load
from edgevid.learn.detector.network import CLASSES
from edgevid.types import Array, Frame

MODELS = ("street-small", "yolox-nano-416")
LEAST, SAME, APART = 0.1, 0.5, 0.3
MEASURES = ("score", "margin", "energy", "entropy", "cells", "cells above", "all, logistic")
KNOWN, CONFUSED, UNKNOWN = 0, 1, 2


def cells_of(model: Detector, frame: Frame) -> tuple[Array, Array, Array]:
    """Boxes (N, 4) in the frame, class scores (N, C) and the scores that the detector gives (N,), of all cells."""
    inputs, (transform,) = model.preprocess([frame])
    (out,) = (rows[0] for rows in model.engine.run(inputs).values())
    how, size = model.recipe.decode, model.recipe.input
    if how.kind == "yolox":
        scores = out[:, 5:] * out[:, 4:5]
        steps = [(s, -(-size.width // s), -(-size.height // s)) for s in how.strides]
        x, y, stride = (
            np.concatenate(part)
            for part in zip(
                *((np.tile(np.arange(w), h), np.repeat(np.arange(h), w), np.full(w * h, s)) for s, w, h in steps),
                strict=True,
            )
        )
        middle = (out[:, :2] + np.stack([x, y], 1)) * stride[:, None]
        half = np.exp(out[:, 2:4]) * stride[:, None] / 2
    else:
        rows = out.T
        scores, middle, half = rows[:, 4:], rows[:, :2], rows[:, 2:4] / 2
    return transform.inverse(np.concatenate([middle - half, middle + half], 1)), scores, scores.max(1)


def measured(model: Detector, frame: Frame, least: float) -> tuple[Array, Array, Array]:
    """Boxes (M, 4), labels (M,) and measures (M, 6) of what the detector finds: the larger, the more it is known."""
    found, (boxes, scores, best) = model.detect([frame])[0], cells_of(model, frame)
    some = best > LEAST / 2
    boxes, scores, best = boxes[some], np.clip(scores[some], 1e-6, 1 - 1e-6), best[some]
    if not len(found) or not len(best):
        return NOTHING, np.zeros(0, int), np.zeros((0, 6))
    apart = np.abs(found.boxes[:, None] - boxes).max(2) + 1e3 * np.abs(found.scores[:, None] - best)
    own, logits = apart.argmin(1), np.log(scores / (1 - scores))
    ordered, share = np.sort(logits[own], 1), scores[own] / scores[own].sum(1, keepdims=True)
    agree = (iou(found.boxes, boxes) > 0.6) & (scores.argmax(1) == found.labels[:, None])
    cells = (np.log((agree * best * (best > limit)).sum(1) + 1e-6) for limit in (0, least))
    columns = (ordered[:, -1], ordered[:, -1] - ordered[:, -2], np.log(np.exp(logits[own]).sum(1)),
               (share * np.log(share)).sum(1), *cells)  # fmt: skip
    return found.boxes, found.labels, np.stack(columns, 1)


def judged(
    model: Detector, cases: list[tuple[Case, Array]], names: tuple[str, ...], least: float
) -> tuple[Array, Array, Array]:
    """Measures (M, 6), kinds (M,) and image numbers (M,) of the boxes of these classes."""
    rows, kinds, images = [], [], []
    for number, (case, truth) in enumerate(cases):
        boxes, labels, values = measured(model, case.frame, least)
        for box, label, row in zip(boxes, labels, values, strict=True):
            name = model.names[label]
            if name not in names or (len(case.neither) and iou(box[None], case.neither).max() > APART):
                continue
            overlap = iou(box[None], case.truth)[0] if len(case.truth) else np.zeros(1)
            own = overlap[truth == name].max(initial=0) if len(case.truth) else 0
            kind = KNOWN if own >= SAME else CONFUSED if overlap.max() >= SAME else UNKNOWN
            if kind != UNKNOWN or overlap.max() < APART:
                rows.append(row)
                kinds.append(kind)
                images.append(number)
    return np.array(rows), np.array(kinds), np.array(images)


def scored(values: Array, kinds: Array, images: Array, strict: Array) -> dict[str, Any]:
    """Of each measure its AUROC of known boxes against confused and unknown ones, for boxes that are `strict`."""
    half, both = images % 2 == 0, np.zeros(len(values))
    for chosen in (half, ~half):
        middle, spread = values[chosen].mean(0), values[chosen].std(0) + 1e-9
        fitted = LogisticRegression(max_iter=2000).fit((values[chosen] - middle) / spread, kinds[chosen] == KNOWN)
        both[~chosen] = fitted.decision_function((values[~chosen] - middle) / spread)
    columns = dict(zip(MEASURES, (*values.T, both), strict=True))
    made: dict[str, Any] = {"known": int((kinds[strict] == KNOWN).sum())}
    for kind, name in ((CONFUSED, "confused"), (UNKNOWN, "unknown")):
        other = strict & (kinds == kind)
        made[name] = int(other.sum())
        for measure, column in columns.items():
            enough = min(made["known"], made[name]) >= 10
            known = strict & (kinds == KNOWN)
            made[f"{measure}, {name}"] = auroc(-column[known], -column[other]) if enough else None
            if enough and measure != "score":
                made[f"{measure}, {name}, gain"] = gains(values[:, 0], column, known, other, images)
    return made


def gains(score: Array, column: Array, known: Array, other: Array, images: Array, draws: int = 300) -> list[float]:
    """The 95 % interval of the gain over the score, by bootstrap over images."""
    rng, found = np.random.default_rng(0), []
    places = [np.flatnonzero(images == n) for n in np.unique(images)]
    for _ in range(draws):
        rows = np.concatenate([places[n] for n in rng.integers(0, len(places), len(places))])
        ours, theirs = rows[known[rows]], rows[other[rows]]
        if len(ours) and len(theirs):
            found.append(auroc(-column[ours], -column[theirs]) - auroc(-score[ours], -score[theirs]))
    return [float(v) for v in np.quantile(found, [0.025, 0.975])]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    names, roads = np.array(CLASSES), []
    for sample in load(options.data / "roads" / "val", CLASSES):
        sure = sample.weights > 0
        case = Case(Frame(np.ascontiguousarray(sample.image), 0.0, 0), sample.boxes[sure], sample.boxes[~sure])
        roads.append((case, names[sample.labels[sure]]))
    stills = [(case, np.full(len(case.truth), "person")) for case in photos(options.data, every=1)]
    found, body = {}, []
    for name in MODELS:
        model, own = Detector.load(name, score_threshold=LEAST, threads=1), Detector.load(name, threads=1)
        limits = own.recipe.decode.class_thresholds or [own.score_threshold]
        limit = np.log(min(limits) / (1 - min(limits)))
        for what, cases, classes in (("roads/val", roads, tuple(CLASSES)), ("photos", stills, ("person",))):
            values, kinds, images = judged(model, cases, classes, min(limits))
            for where, strict in (
                ("above 0.1", values[:, 0] > -np.inf),
                ("above its own score", values[:, 0] >= limit),
            ):
                row = scored(values, kinds, images, strict)
                found[f"{name}, {what}, {where}"] = row
                for kind in ("confused", "unknown"):
                    shares = [row[f"{measure}, {kind}"] for measure in MEASURES]
                    if None not in shares:
                        count = f"{row['known']} known, {row[kind]} {kind}"
                        body.append([f"{name}, {what}, {where}", count, *(f"{one:.3f}" for one in shares)])
    head = ["boxes", "judged", *MEASURES]
    print(table(head, body))
    made = conditions({}) | {"command": "python benchmarks/unlike_boxes.py DATA"}
    print(f"wrote {save('unlike_boxes', {'head': head, 'rows': body, 'boxes': found}, made)}")


if __name__ == "__main__":
    main()

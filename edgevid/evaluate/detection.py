"""Quality of detections: average precision and recall as COCO defines them, by class, and at one score. The values are
those of pycocotools' COCOeval within rounding (all areas, 100 detections an image and class)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.evaluate.boxes import AREA, TRUE, BoxTable, aligned, overlaps, read_boxes
from edgevid.evaluate.evaluation import DRAWS, Evaluation, Plot, Table
from edgevid.models.hub import find_recipe
from edgevid.runtime.recipe import DetectorRecipe
from edgevid.types import Array

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100  # Detections of an image and class that count, the highest scores first
BUDGET = 2e7  # Detections times draws of the bootstrap, which takes fewer draws of many detections


class Matches(NamedTuple):
    """The detections of one class, highest scores first."""

    scores: Array  # (D,)
    groups: Array  # (D,) index of the group
    hits: Array  # (10, D) at each of IOUS
    counted: Array  # (10, D) False where a detection counts neither way
    truth: Array  # (G,) true boxes by group

    def curve(self, counts: Array) -> tuple[Array, Array, Array]:
        """Precision at RECALLS (10, 101), recall (10, D) and precision (10, D) where groups count so many times."""
        weight = counts[self.groups]
        hits = np.cumsum(self.hits * weight, 1)
        every = np.cumsum(self.counted * weight, 1)
        recall = hits / max(float(self.truth @ counts), 1)
        precision = hits / np.maximum(every, np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        at = np.zeros((len(IOUS), len(RECALLS)))
        for n in range(len(IOUS)):
            place = np.searchsorted(recall[n], RECALLS)
            at[n, place < recall.shape[1]] = envelope[n, place[place < recall.shape[1]]]
        return at, recall, precision

    def metrics(self, counts: Array, score: float) -> Array:
        """AP50:95, AP50, AR, and precision and recall at a score and IoU 0.5; NaN without true boxes."""
        if not self.truth @ counts:
            return np.full(5, np.nan)
        at, recall, precision = self.curve(counts)
        last = np.searchsorted(-self.scores, -score, "right") - 1
        point = (precision[0, last], recall[0, last]) if last >= 0 else (np.nan, 0.0)
        best = recall[:, -1].mean() if len(self.scores) else 0.0
        return np.array([at.mean(), at[0].mean(), best, *point])


def match(truth: BoxTable, found: BoxTable, groups: Array, count: int) -> list[Matches]:
    """Matches of each class of aligned tables; `groups` (F,) is the group of each frame."""
    made = []
    for label in range(len(truth.names)):
        own, mine = truth[(truth.labels == label) & (truth.roles <= AREA)], found[found.labels == label]
        mine, own = mine[np.argsort(-mine.scores, kind="stable")], own[np.argsort(own.roles != TRUE, kind="stable")]
        hits, counted = np.zeros((len(IOUS), len(mine.frame)), bool), np.ones((len(IOUS), len(mine.frame)), bool)
        kept = np.zeros(len(mine.frame), bool)
        for true, rows in zip(own.by_frame(), (some[:MOST] for some in mine.by_frame()), strict=True):
            kept[rows] = True
            if len(true) and len(rows):
                area = own.roles[true] == AREA
                similar = overlaps(mine.boxes[rows], own.boxes[true], of_first=area)
                hits[:, rows], counted[:, rows] = _greedy(similar, own.roles[true] != TRUE, area)
        true = np.bincount(groups[own.frame[own.roles == TRUE]], minlength=count)
        made.append(Matches(mine.scores[kept], groups[mine.frame[kept]], hits[:, kept], counted[:, kept], true))
    return made


def _greedy(similar: Array, neither: Array, area: Array) -> tuple[Array, Array]:
    """COCO's matching of the detections of one image, the highest score first: (10, D) hits, and what counts."""
    shape = len(IOUS), len(similar)
    hits, counted, limits = np.zeros(shape, bool), np.ones(shape, bool), np.minimum(IOUS, 1 - 1e-10)[:, None]
    taken, rows = np.zeros((len(IOUS), len(neither)), bool), np.arange(len(IOUS))
    for d, row in enumerate(similar):
        fits = (row >= limits) & (~taken | area)
        usual = (fits & ~neither).any(1)
        value = np.where(fits & (neither ^ usual[:, None]), row, -1.0)  # what counts neither way comes last
        best = value.shape[1] - 1 - value[:, ::-1].argmax(1)
        matched = fits.any(1)
        taken[rows[matched], best[matched]] = True
        hits[:, d], counted[:, d] = usual, ~matched | usual
    return hits & counted, counted


def evaluate(
    results: Path, truth: Path, *, model: str | None = None, score_threshold: float = 0.25,
    classes: tuple[str, ...] = (),
) -> Evaluation:  # fmt: skip
    """Means over the classes with truth, and each class; a group is a clip, or an image of none. Precision and recall
    are at the score of the recipe of `model`, else at `score_threshold`. InputError without a common frame or class."""
    if model:
        score_threshold = DetectorRecipe.of(find_recipe(model)).decode.score_threshold
    known, ids = read_boxes(truth)
    true, found, notes = aligned(known, read_boxes(results, ids)[0], classes)
    names = list(dict.fromkeys(s for s, _ in known.frames))
    groups = np.array([names.index(s) for s, _ in known.frames], int)
    heads = ("AP50:95", "AP50", "AR", "precision", "recall")
    made = match(true, found, groups, len(names))

    def measure(counts: Array) -> dict[str, float]:
        rows = np.array([one.metrics(counts, score_threshold) for one in made])
        some = np.isfinite(rows)
        means = np.where(some, rows, 0).sum(0) / np.where(some.any(0), some.sum(0), np.nan)
        return dict(zip(heads, means.tolist(), strict=True))

    ones = np.ones(len(names), int)
    rows = [(name, *one.metrics(ones, score_threshold).tolist(), int(one.truth.sum()))
            for name, one in zip(true.names, made, strict=True)]  # fmt: skip
    most = sorted(zip(true.names, made, strict=True), key=lambda pair: -pair[1].truth.sum())[:4]
    lines = {name: (RECALLS, one.curve(ones)[0][0]) for name, one in most if one.truth.any()}
    notes.append(f"precision and recall are those of scores from {score_threshold:g} at IoU 0.5")
    draws = int(np.clip(BUDGET / max(len(found.frame), 1), 200, DRAWS))
    return Evaluation(
        "detection", names, "clip", measure, notes=notes, draws=draws,
        tables={"By class": Table(("class", *(f"{head} %" for head in heads), "boxes"), rows)},
        plots={"Precision and recall at IoU 0.5": Plot("recall", "precision", lines)},
    )  # fmt: skip

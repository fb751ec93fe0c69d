"""Typicality: is a clip like those that a temporal head was trained on? A conformal p-value next to its probabilities.

A softmax must choose among the classes it knows, also where none of them is there. A second opinion helps: a kernel
ridge regression of the head's features, averaged over the window and with their spread and course in it, each
standardized, by their direction. It knows nothing far from its training clips. Three measures, each over its spread
on held-out clips, are summed, none as more than usual: the head's logit of its class, the opinion on that class, the
highest opinion. The p-value is the share of held-out clips that are at least as unlike the training (Vovk et al. 2005).
`benchmarks/unlike.py` compares it with Mahalanobis distance, k-NN, energy, max-logit and max-softmax.

The opinion also knows what the head is wrong about: where held-out clips say so, probabilities are those of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgevid.actions.recognizer import softmax
from edgevid.errors import FileFormatError
from edgevid.files.arrays import load_arrays
from edgevid.files.atomic import atomic_path
from edgevid.types import F32, Array, Scores

PENALTY = 0.01  # Of the ridge regression
LARGEST = 2_000_000  # Values that prototypes may have: 4 MB in a file
COURSE, COURSE_WEIGHT = 3, 0.4  # Cosines over the window that tell its course, and what they count next to its mean
MIXTURES = tuple((share, weight) for weight in (0.0, 2.0, 4.0, 8.0) for share in (1.0, 0.5, 0.25))
"""What the head's log-probability and the opinion may count for in the probabilities; the first: the head alone."""
ALONE = tuple((0.0, weight) for weight in (2.0, 4.0, 8.0, 16.0))  # Mixtures of the opinion alone
FLOOR = -1.0  # No measure says "like the training" more strongly: a logit may be large anywhere


@dataclass(frozen=True, slots=True)
class Typicality:
    """What is known of the training clips of one head: N prototypes of F pooled features, C classes."""

    center: F32  # (F,) mean of the pooled features
    scale: F32  # (F,) their standard deviation
    reach: F32  # () largest length of a standardized training clip; what is longer is far from all
    prototypes: F32  # (N, F) directions of training clips
    weights: F32  # (N, C) of the second opinion
    bias: F32  # (C,) logits added to it
    middle: F32  # (3,) medians of the measures on held-out clips
    spread: F32  # (3,) their interquartile ranges
    held_out: F32  # (H,) sums of held-out clips, rising: larger is less like the training
    mixture: F32  # (2,) of `MIXTURES`

    @classmethod
    def fit(cls, features: Array, valid: Array, labels: Array, classes: int,
            solve: Callable[[Array, Array], tuple[Array, Array]] | None = None) -> Typicality:  # fmt: skip
        """From windows (N, T, D) of the training clips, their valid steps (N, T) and classes; to be `calibrated`.
        `solve` gives weights (N, C) and bias (C,) from the kernel (N, N) and targets (N, C); default: ridge."""
        pooled = pool(features, valid)
        center, scale = pooled.mean(0), pooled.std(0) + 1e-6
        unit = _standardized(pooled, center, scale)
        rank = np.array([np.count_nonzero(labels[:row] == label) for row, label in enumerate(labels)])
        kept = np.argsort(rank, kind="stable")[: max(classes, LARGEST // unit.shape[1])]  # the same of each class
        places = _directions(unit[kept]).astype(np.float16).astype(np.float32)  # as the file has them
        reach = np.linalg.norm(unit, axis=1).max()
        weights, bias = (solve or _ridge)(_kernel(places, places), np.eye(classes)[labels[kept]])
        columns = (center, scale, reach, places, weights, bias, np.zeros(3), np.ones(3), np.zeros(1), MIXTURES[0])
        return cls(*(np.asarray(one, np.float32) for one in columns))

    def calibrated(self, logits: Array, features: Array, valid: Array, labels: Array | None = None,
                   mixtures: tuple[tuple[float, float], ...] = MIXTURES) -> Typicality:  # fmt: skip
        """The same with the logits (H, C) and windows of held-out clips, of scenes that training had none of. With
        their classes (H,) the mixture is the one that makes these likeliest."""
        opinion = self.opinion(features, valid)
        found = self._measures(logits, opinion)
        low, middle, high = np.percentile(found, (25, 50, 75), axis=0).astype(np.float32)
        made = replace(self, middle=middle, spread=np.maximum(high - low, 1e-3))
        made = replace(made, held_out=np.sort(made._sums(found)))
        if labels is None:
            return made
        rows = np.arange(len(labels))
        mixed = [replace(made, mixture=np.array(one, np.float32)) for one in mixtures]
        likely = [np.log(one.mixed(softmax(logits), opinion)[rows, labels] + 1e-9).sum() for one in mixed]
        return mixed[int(np.argmax(likely))]

    def opinion(self, features: Array, valid: Array) -> Array:
        """(M, C) the second opinion on windows (M, T, D) with valid steps (M, T); about 1 on a class it is sure of."""
        places = _directions(_standardized(pool(features, valid), self.center, self.scale), self.reach)
        return np.asarray(_kernel(places, self.prototypes) @ self.weights + self.bias)

    def mixed(self, values: Array, opinion: Array) -> F32:
        """(M, C) probabilities of the head (M, C) and the opinion together: their product, and what it leaves of 1,
        which is much where they disagree, in the shares of their mean. `benchmarks/opinion.py` says what that gains."""
        share, weight = self.mixture
        if not weight and share == 1:
            return np.asarray(values, np.float32)
        head, own = softmax(share * np.log(np.maximum(values, 1e-12))), softmax(weight * opinion)
        if not share * weight:
            return np.asarray(head if share else own, np.float32)
        both = head * own
        return np.asarray(both + (1 - both.sum(1, keepdims=True)) * (head + own) / 2, np.float32)

    def assess(self, made: Scores, logits: Array, features: Array, valid: Array) -> Scores:
        """The scores of a head whose logits (M, C) are of windows (M, T, D), mixed and with their p-values."""
        opinion = self.opinion(features, valid)
        return replace(made, values=self.mixed(made.values, opinion), typicality=self._p(logits, opinion, valid))

    def __call__(self, logits: Array, features: Array, valid: Array) -> F32:
        """(M, 1) p-values of windows (M, T, D) with logits (M, C); NaN where the older half of the steps is missing."""
        return self._p(logits, self.opinion(features, valid), valid)

    def _p(self, logits: Array, opinion: Array, valid: Array) -> F32:
        more = len(self.held_out) - np.searchsorted(self.held_out, self._sums(self._measures(logits, opinion)))
        p = (1 + more) / (1 + len(self.held_out))
        long = valid[:, : (valid.shape[1] + 1) // 2].any(1)
        return np.where(long, p, np.nan)[:, None].astype(np.float32)

    def _sums(self, measures: Array) -> F32:
        return np.asarray(np.maximum((measures - self.middle) / self.spread, FLOOR).sum(1), np.float32)

    def _measures(self, logits: Array, opinion: Array) -> Array:
        best, rows = logits.argmax(1), np.arange(len(logits))
        return -np.stack((logits[rows, best], opinion[rows, best], opinion.max(1)), axis=1)

    @classmethod
    def read(cls, path: Path, *, features: int, classes: int) -> Typicality:
        """The file at `path`; FileFormatError where it is damaged or of another head."""
        names = cls.__slots__
        try:
            file = load_arrays(path)
            made = cls(*(file[name].astype(np.float32) for name in names))
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(path, "the whole file", expected=f"arrays {', '.join(names)}", got=error) from None
        if (found := (made.center.shape[0], made.weights.shape[1])) != ((2 + COURSE) * features, classes):
            expected = f"{(2 + COURSE) * features} features and {classes} classes, as of the head: train it again"
            raise FileFormatError(path, "weights", expected=expected, got=found)
        return made

    def write(self, path: Path) -> None:
        """Writes the file; prototypes in half precision."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        with atomic_path(path) as new, new.open("wb") as file:
            np.savez_compressed(file, **columns | {"prototypes": self.prototypes.astype(np.float16)})


def pool(features: Array, valid: Array) -> Array:
    """(M, 5 D) mean, standard deviation and course of features (M, T, D) over the valid steps (M, T): their first
    cosine transforms, as a clip's beginning differs from its end."""
    weight = valid[..., None] / np.maximum(valid.sum(1), 1)[:, None, None]
    mean = (features * weight).sum(1)
    away = (features - mean[:, None]) * valid[..., None]
    spread = np.sqrt((np.square(away) * weight).sum(1))
    at = (np.cumsum(valid, 1) - 0.5) / np.maximum(valid.sum(1, keepdims=True), 1)
    waves = [np.sqrt(2) * np.cos(np.pi * k * at)[..., None] for k in range(1, COURSE + 1)]
    return np.concatenate((mean, spread, *((away * weight * wave).sum(1) for wave in waves)), axis=1)


def _ridge(kernel: Array, targets: Array) -> tuple[Array, Array]:
    return np.linalg.solve(kernel + PENALTY * np.eye(len(kernel)), targets), np.zeros(targets.shape[1])


def _standardized(pooled: Array, center: Array, scale: Array) -> Array:
    """Pooled features in their spread over the training, the course counting less."""
    count = pooled.shape[1] // (2 + COURSE)
    counts = np.repeat((1.0, COURSE_WEIGHT), (2 * count, COURSE * count))
    return np.asarray((pooled - center) / scale * counts)


def _directions(unit: Array, reach: Array | float = np.inf) -> Array:
    """Vectors over their length, or over `reach` where they are longer."""
    return np.asarray(unit / np.clip(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9, reach))


def _kernel(places: Array, prototypes: Array) -> Array:
    """Gaussian kernel of width 1; prototypes have length 1."""
    return np.asarray(np.exp(places @ prototypes.T - (np.square(places).sum(1, keepdims=True) + 1) / 2))

"""Likeness: is a clip like those that a temporal head was trained on? A conformal p-value beside its probabilities.

A softmax must choose among the classes it knows, also where none of them is there. Three measures of the class
that the head chose tell more, each over its spread on held-out clips, summed (none counts as more than usual):

- its logit;
- the distance to the nearest training clip of that class, by the direction of the standardized features, each
  averaged over the window and with its spread in it, and by their length where it is beyond all of the training;
- the output for that class of a linear model of the same features, a second opinion (ridge regression).

The p-value is the share of held-out clips that are at least as unlike the training (Vovk et al. 2005).
`benchmarks/unlike.py` compares this with Mahalanobis distance, energy, max-logit and other measures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from edgevid.errors import FileFormatError
from edgevid.files.atomic import atomic_path
from edgevid.types import F32, Array

PENALTY = 300.0  # Of the ridge regression, on standardized features
FLOOR = -1.0  # No measure says "like the training" more strongly: features far away give large outputs
LARGEST = 500_000  # Values that prototypes may have: 1 MB in a file


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is known of the training clips of one head."""

    center: F32
    """(F,) mean of the pooled features."""
    scale: F32
    """(F,) their standard deviation."""
    reach: F32
    """() largest length of the standardized features of a training clip."""
    prototypes: F32
    """(N, F) directions of training clips."""
    labels: Array
    """(N,) their classes."""
    linear: F32
    """(F + 1, C) weights of the second opinion, the last row its constants."""
    middle: F32
    """(3,) medians of the measures on held-out clips."""
    spread: F32
    """(3,) their interquartile ranges."""
    held_out: F32
    """(H,) sums of held-out clips, rising: larger is less like the training."""

    @classmethod
    def fit(cls, features: Array, valid: Array, labels: Array, classes: int, *, seed: int = 0) -> Likeness:
        """From windows (N, T, D) of the training clips, their valid steps (N, T) and classes (N,).

        It is not calibrated yet: see `calibrated`.
        """
        pooled = pool(features, valid)
        center, scale = pooled.mean(0), pooled.std(0) + 1e-6
        unit = (pooled - center) / scale
        table = np.concatenate((unit, np.ones((len(unit), 1))), axis=1)
        targets = 2.0 * np.eye(classes)[labels] - 1
        linear = table.T @ np.linalg.solve(table @ table.T + PENALTY * np.eye(len(table)), targets)
        count = max(classes, min(len(unit), LARGEST // unit.shape[1]))
        rows = np.random.default_rng(seed).permutation(len(unit))
        order = np.argsort([np.sum(labels[rows[:n]] == labels[row]) for n, row in enumerate(rows)], kind="stable")
        kept = np.sort(rows[order[:count]])  # as many of each class as there is room for
        reach = np.linalg.norm(unit, axis=1).max()
        columns = (center, scale, reach, _directions(unit[kept]), linear, np.zeros(3), np.ones(3), np.zeros(1))
        *first, linear, middle, spread, held_out = (np.asarray(one, np.float32) for one in columns)
        return cls(*first, labels[kept], linear, middle, spread, held_out)

    def calibrated(self, logits: Array, features: Array, valid: Array) -> Likeness:
        """The same with the logits (H, C) and windows of held-out clips, of scenes that training had none of."""
        found = self._measures(logits, features, valid)
        low, middle, high = np.percentile(found, (25, 50, 75), axis=0).astype(np.float32)
        spread = np.maximum(high - low, 1e-3)
        made = replace(self, middle=middle, spread=spread)
        return replace(made, held_out=np.sort(made._sums(found)))

    def __call__(self, logits: Array, features: Array, valid: Array) -> F32:
        """(M, 1) p-values of windows (M, T, D) with their logits (M, C); NaN where half of the steps are missing."""
        sums = self._sums(self._measures(logits, features, valid))
        more = len(self.held_out) - np.searchsorted(self.held_out, sums)
        p = (1 + more) / (1 + len(self.held_out))
        return np.where(2 * valid.sum(1) > valid.shape[1], p, np.nan)[:, None].astype(np.float32)

    def _sums(self, measures: Array) -> F32:
        return np.asarray(np.maximum((measures - self.middle) / self.spread, FLOOR).sum(1), np.float32)

    def _measures(self, logits: Array, features: Array, valid: Array) -> Array:
        best, rows = logits.argmax(1), np.arange(len(logits))
        unit = (pool(features, valid) - self.center) / self.scale
        place = _directions(unit, self.reach)
        nearest = np.where(self.labels == best[:, None], place @ self.prototypes.T, -np.inf).max(1)
        distance = np.sqrt(np.maximum(1 + np.square(place).sum(1) - 2 * nearest, 0))
        opinion = (unit @ self.linear[:-1] + self.linear[-1])[rows, best]
        return np.stack((-logits[rows, best], distance, -opinion), axis=1)

    @classmethod
    def read(cls, path: Path, *, features: int, classes: int) -> Likeness:
        """The file at `path`; FileFormatError where it is damaged or of another head."""
        names = cls.__slots__
        try:
            with np.load(path) as file:
                made = cls(*(file[name] if name == "labels" else file[name].astype(np.float32) for name in names))
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise FileFormatError(path, "the whole file", expected=f"arrays {', '.join(names)}", got=error) from None
        if (shape := made.linear.shape) != (2 * features + 1, classes):
            expected = f"{(2 * features + 1, classes)}, as of the head: train it again"
            raise FileFormatError(path, "linear", expected=expected, got=shape)
        return made

    def write(self, path: Path) -> None:
        """Writes the file; prototypes in half precision."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        columns |= {"prototypes": self.prototypes.astype(np.float16), "labels": self.labels.astype(np.int32)}
        with atomic_path(path) as new, new.open("wb") as file:
            np.savez_compressed(file, **columns)


def pool(features: Array, valid: Array) -> Array:
    """(M, 2 D) mean and standard deviation of features (M, T, D) over the valid steps (M, T)."""
    weight = valid[..., None] / np.maximum(valid.sum(1), 1)[:, None, None]
    mean = (features * weight).sum(1)
    spread = np.sqrt((np.square(features - mean[:, None]) * weight).sum(1))
    return np.concatenate((mean, spread), axis=1)


def _directions(unit: Array, reach: Array | float = np.inf) -> Array:
    """Vectors divided by their length, or by `reach` where they are longer."""
    return np.asarray(unit / np.clip(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9, reach))

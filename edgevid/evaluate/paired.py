"""Two models on the same items: a paired bootstrap of the difference of their accuracy and risk."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.abstain.file import read_policy
from edgevid.errors import InputError
from edgevid.evaluate.tune.score_files import read_csv, read_npz
from edgevid.evaluate.tune.scores import decide, make_table
from edgevid.types import Array

ROUNDS = 5_000


class Difference(NamedTuple):
    """A measure of two models, and the 95 % interval of that of B minus that of A."""

    a: float
    b: float
    low: float
    high: float


class TrackScores(NamedTuple):
    """K labeled tracks (items) of C classes."""

    items: tuple[str, ...]
    names: tuple[str, ...]
    labels: Array
    probabilities: Array
    """(K, C) means over the rows of each track."""
    emitted: Array
    """(K,) whether the policy emits a verdict; all without one."""
    wrong: Array
    """(K,) whether the verdict, the policy's or the most probable class, is wrong."""


def read_tracks(path: Path, policy: Path | None = None) -> TrackScores:
    """The tracks of a CSV or NPZ of scores (docs/abstain.md); InputError without labels."""
    columns = read_npz(path) if path.suffix.lower() == ".npz" else read_csv(path)
    table = make_table(columns, path=path)
    if table.labels is None:
        raise InputError(f"{path}: expected the true classes in a column label, got none")
    _, first = np.unique(table.tracks, return_index=True)
    labels, total = table.labels[first], np.zeros((len(first), len(table.names)))
    np.add.at(total, table.tracks - 1, table.values)
    predicted, emitted = total.argmax(1), np.ones(len(first), bool)
    if policy is not None:
        rules = read_policy(policy, names=table.names).policy()
        _, _, decided, emitted = decide(rules, table, np.lexsort((table.times, table.tracks)))
        predicted[emitted] = decided
    items = tuple(str(columns["tracks"][row]) if "tracks" in columns else str(row + 1) for row in first)
    return TrackScores(items, table.names, labels, total / total.sum(1, keepdims=True), emitted, predicted != labels)


def compare(a: TrackScores, b: TrackScores, groups: Array | None = None) -> dict[str, Difference]:
    """Differences of "accuracy" and, where a policy abstains, of the "risk" and "coverage" of emitted verdicts.

    `groups` (K,) are scenes, drawn as wholes; None: each track is one. InputError for other tracks or labels.
    """
    one, two = ([(i, s.names[k]) for i, k in zip(s.items, s.labels, strict=True)] for s in (a, b))
    if one != two:
        other = next((f"{x} and {y}" for x, y in zip(one, two, strict=False) if x != y), "")
        raise InputError(f"compare: expected the same tracks and labels, got {len(one)} and {len(two)} tracks {other}")
    every = np.ones(len(one))
    found = {"accuracy": bootstrap([(~s.wrong, every) for s in (a, b)], groups)}
    if not (a.emitted.all() and b.emitted.all()):
        found["risk"] = bootstrap([(s.wrong & s.emitted, s.emitted) for s in (a, b)], groups)
        found["coverage"] = bootstrap([(s.emitted, every) for s in (a, b)], groups)
    return found


def bootstrap(ratios: list[tuple[Array, Array]], groups: Array | None = None, *, seed: int = 0) -> Difference:
    """Of two ratios of the sums of (K,) numerators and denominators: percentiles (Efron, Tibshirani 1993)."""
    columns = np.stack([np.asarray(one, float) for ratio in ratios for one in ratio], 1)
    keys, number = np.unique(np.arange(len(columns)) if groups is None else groups, return_inverse=True)
    sums = np.zeros((len(keys), 4))
    np.add.at(sums, number, columns)
    rng, share = np.random.default_rng(seed), np.full(len(keys), 1 / len(keys))
    drawn = np.concatenate([rng.multinomial(len(keys), share, 100) @ sums for _ in range(ROUNDS // 100)])
    a, b, first, second = (s[:, n] / np.maximum(s[:, n + 1], 1e-9) for s in (sums.sum(0)[None], drawn) for n in (0, 2))
    return Difference(float(a[0]), float(b[0]), *np.quantile(second - first, [0.025, 0.975]).tolist())

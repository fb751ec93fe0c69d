"""Two models on the same items: a paired bootstrap of the difference of their accuracy and risk."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.abstain.file import read_policy
from edgevid.errors import InputError
from edgevid.evaluate.evaluation import Evaluation
from edgevid.evaluate.evaluation import compare as differences
from edgevid.evaluate.tune.score_files import read_csv, read_npz
from edgevid.evaluate.tune.scores import decide, make_table
from edgevid.types import Array


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


def compare(a: TrackScores, b: TrackScores, groups: Sequence[str] | None = None) -> Evaluation:
    """Differences of "accuracy" and, where a policy abstains, of the "risk" and "coverage" of emitted verdicts.
    `groups` (K,) are scenes, drawn as wholes; None: each track is one. InputError for other tracks or labels."""
    one, two = ([(i, s.names[k]) for i, k in zip(s.items, s.labels, strict=True)] for s in (a, b))
    if one != two:
        other = next((f"{x} and {y}" for x, y in zip(one, two, strict=False) if x != y), "")
        raise InputError(f"compare: expected the same tracks and labels, got {len(one)} and {len(two)} tracks {other}")
    keys, number = np.unique(a.items if groups is None else list(groups), return_inverse=True)
    abstains = not (a.emitted.all() and b.emitted.all())
    return differences(*(_evaluation(s, keys.tolist(), number, abstains) for s in (a, b)))


def _evaluation(scores: TrackScores, keys: list[str], number: Array, abstains: bool) -> Evaluation:
    sums, every = np.zeros((len(keys), 4)), np.ones(len(number))
    np.add.at(sums, number, np.stack([~scores.wrong, scores.wrong & scores.emitted, scores.emitted, every], 1))

    def measure(counts: Array) -> dict[str, float]:
        right, bad, emitted, tracks = (counts @ sums).tolist()
        more = {"risk": bad / emitted if emitted else np.nan, "coverage": emitted / max(tracks, 1)} if abstains else {}
        return {"accuracy": right / max(tracks, 1), **more}

    return Evaluation("scores", keys, "group of tracks", measure)

"""Score tables for tuning: CSV or NPZ, checked, and reduced to one verdict per track."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevid.abstain.policy import Policy, Settings
from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.tune.score_files import fail, read_csv, read_npz
from edgevid.evaluate.tune.score_kinds import (
    LabelKind,
    ValueKind,
    label_indices,
    to_probabilities,
)
from edgevid.files.digest import sha256_of
from edgevid.types import Array, Reason, Scores, Tracks

AT_ONCE = 20_000
"""Tracks that a policy decides at a time: each takes memory in it."""


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Class probabilities and their labels; row i of all columns is one observation."""

    names: tuple[str, ...]
    values: Array
    """(N, C) float32 probabilities."""
    labels: Array | None
    """(N,) true class indices, None where unknown."""
    tracks: Array
    """(N,) int64, 1 to the number of tracks; rows without a track column are a track each."""
    times: Array
    """(N,) seconds; the order of the rows where there is no time column."""
    decimals: int = 0
    """Decimals that the values were rounded to, 0 where that is too fine to matter."""
    path: Path = Path()
    sha256: str = ""

    def of_tracks(self, chosen: Array) -> ScoreTable:
        """Only the rows of these tracks."""
        rows = np.isin(self.tracks, chosen)
        labels = None if self.labels is None else self.labels[rows]
        return dataclasses.replace(
            self, values=self.values[rows], labels=labels, tracks=self.tracks[rows], times=self.times[rows]
        )


@dataclass(frozen=True, slots=True)
class TrackVerdicts:
    """The verdict of each track after its last observation, before any threshold."""

    probabilities: Array
    """(K, C) calibrated class probabilities."""
    confidence: Array
    """(K,) float64, exact values of float32, as the policy compares them."""
    predicted: Array
    """(K,) class index."""
    labels: Array | None
    """(K,) true class."""
    undecided: int
    """Tracks that the other rules (observations, time, agreement, margin) abstain on; not among the K."""

    @property
    def wrong(self) -> Array:
        """(K,) whether the verdict is wrong."""
        if self.labels is None:
            raise InputError("tune: expected labels, got scores without them")
        return np.asarray(self.predicted != self.labels)


def read_scores(path: str | Path, *, values: ValueKind = "auto", labels: LabelKind = "auto") -> ScoreTable:
    """The score table at `path`; `values` and `labels` are as of `make_table`."""
    path = Path(path)
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    if path.suffix.lower() == ".npz":
        columns = read_npz(path)
    elif path.suffix.lower() == ".csv":
        columns = read_csv(path)
    else:
        raise FileFormatError(path, "the file's name", expected="it to end in .csv or .npz", got=path.name)
    return make_table(columns, path=path, sha256=sha256, values=values, labels=labels)


def make_table(
    columns: Mapping[str, Array],
    *,
    path: Path = Path(),
    sha256: str = "",
    values: ValueKind = "auto",
    labels: LabelKind = "auto",
) -> ScoreTable:
    """The checked table of `values` and optional `labels`, `tracks`, `times`, `names`.

    The policy will see probabilities of a softmax: "auto" takes those, and is an InputError for others
    (percentages, sigmoids, a second softmax). "probabilities", "percent" and "logits" state what the values
    are, "names" and "indices" what labels are that could be both.
    """
    given = np.asarray(columns["values"])
    if given.ndim != 2 or not np.issubdtype(given.dtype, np.number):
        fail(path, "values", "numbers of shape (N, classes)", f"{given.dtype} {given.shape}")
    if not len(given):
        fail(path, "values", "at least one row", "none")
    if given.shape[1] < 2:
        fail(path, "values", "at least two classes: one cannot be confused", given.shape[1])
    names = tuple(map(str, columns.get("names", np.arange(given.shape[1]))))
    if len(names) != given.shape[1] or len(set(names)) < len(names):
        fail(path, "names", f"{given.shape[1]} different class names", list(names))
    shares, decimals = to_probabilities(path, given.astype(np.float64), values)
    rows = len(given)
    tracks = columns.get("tracks", np.arange(rows))
    times = np.asarray(columns.get("times", np.arange(rows)), np.float64)
    for key, column in (("tracks", tracks), ("times", times)):
        if column.shape != (rows,):
            fail(path, key, f"{rows} values, one per row", column.shape)
    if not np.isfinite(times).all():
        fail(path, "times", "finite seconds", "NaN or infinity")
    numbers = np.unique(tracks, return_inverse=True)[1].reshape(-1).astype(np.int64) + 1
    truth = label_indices(path, columns.get("labels"), names, rows, labels)
    if truth is not None:
        _one_label_a_track(path, numbers, np.asarray(tracks), truth, names)
    return ScoreTable(names, shares, truth, numbers, times, decimals, path, sha256)


def gather(table: ScoreTable, settings: Settings) -> TrackVerdicts:
    """One verdict per track, by the policy that runs in the pipeline."""
    free = Policy(table.names, dataclasses.replace(settings, threshold=0.0, per_class={}))
    order = np.lexsort((table.times, table.tracks))
    first = np.flatnonzero(np.diff(table.tracks[order], prepend=-1))
    parts = []
    for rows in np.split(order, first[AT_ONCE::AT_ONCE]):
        parts.append(_verdicts(free, table, rows))
        free.reset()
    probabilities, confidence, predicted, judged = map(np.concatenate, zip(*parts, strict=True))
    labels = None if table.labels is None else table.labels[order[first]][judged]
    return TrackVerdicts(probabilities, confidence, predicted, labels, int((~judged).sum()))


def _verdicts(policy: Policy, table: ScoreTable, rows: Array) -> tuple[Array, Array, Array, Array]:
    """Probabilities, confidence and class of the tracks that these rows decide, and which those are."""
    own = table.tracks[rows]
    ids = own[np.diff(own, prepend=-1) != 0]
    none, zeros = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.float32)
    boxes = np.tile(np.array([0, 0, 1e6, 1e6], np.float32), (len(ids), 1))
    scores = Scores.of(ids=own, values=table.values[rows], times=table.times[rows])
    tracks = Tracks.of(ids=ids, boxes=boxes, scores=zeros, labels=none, match=none, age=zeros, unseen=zeros)
    verdicts = policy.update(scores, tracks, -np.inf)  # as of long ago: nothing is stale
    judged = verdicts.reason == Reason.OK
    confidence = verdicts.confidence[judged].astype(np.float64)
    probabilities = policy.probabilities(ids[judged]).astype(np.float32)
    return probabilities, confidence, verdicts.labels[judged], judged


def _one_label_a_track(
    path: Path, numbers: Array, tracks: Array, labels: Array, names: tuple[str, ...]
) -> None:
    first = labels[np.unique(numbers, return_index=True)[1]][numbers - 1]
    rows = np.flatnonzero(labels != first)
    if len(rows):
        one, two = names[int(first[rows[0]])], names[int(labels[rows[0]])]
        expected = "one label per track (where its label changes, begin another track in the table)"
        fail(path, f"track {tracks[rows[0]]}", expected, f"{one} and {two}")

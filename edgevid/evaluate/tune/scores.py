"""Score tables for tuning: read from CSV or NPZ with every error named, reduced to one verdict per track.

CSV: a header line; optional columns `track`, `time` and `label`, and one column per class, named after it.
NPZ: `values` (N, C), and optional arrays `labels`, `tracks`, `times`, `names`.
"""

from __future__ import annotations

import csv
import dataclasses
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from edgevid.abstain.policy import Policy, Settings
from edgevid.actions.recognizer import softmax
from edgevid.errors import FileFormatError, InputError
from edgevid.files.digest import sha256_of
from edgevid.types import Array, Reason, Scores, Tracks

SPECIAL = ("track", "time", "label")


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
    path: Path = Path()
    sha256: str = ""

    def of_tracks(self, chosen: Array) -> ScoreTable:
        """Only the rows of these tracks."""
        rows = np.isin(self.tracks, chosen)
        labels = None if self.labels is None else self.labels[rows]
        return ScoreTable(
            self.names, self.values[rows], labels, self.tracks[rows], self.times[rows], self.path, self.sha256
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


def read_scores(path: str | Path, *, logits: bool = False) -> ScoreTable:
    """The score table at `path`; with `logits` its values go through a softmax first."""
    path = Path(path)
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    if path.suffix.lower() == ".npz":
        columns = _read_npz(path)
    elif path.suffix.lower() == ".csv":
        columns = _read_csv(path)
    else:
        raise FileFormatError(path, "the file's name", expected="it to end in .csv or .npz", got=path.name)
    return make_table(columns, path=path, sha256=sha256, logits=logits)


def make_table(
    columns: Mapping[str, Array], *, path: Path = Path(), sha256: str = "", logits: bool = False
) -> ScoreTable:
    """The checked table of `values` and optional `labels`, `tracks`, `times`, `names`."""
    values = np.asarray(columns["values"])
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        _fail(path, "values", "numbers of shape (N, classes)", f"{values.dtype} {values.shape}")
    if not len(values):
        _fail(path, "values", "at least one row", "none")
    if values.shape[1] < 2:
        _fail(path, "values", "at least two classes: one cannot be confused", values.shape[1])
    names = tuple(map(str, columns.get("names", np.arange(values.shape[1]))))
    if len(names) != values.shape[1] or len(set(names)) < len(names):
        _fail(path, "names", f"{values.shape[1]} different class names", list(names))
    values = _probabilities(path, values.astype(np.float64), logits)
    rows = len(values)
    tracks = columns.get("tracks", np.arange(rows))
    times = np.asarray(columns.get("times", np.arange(rows)), np.float64)
    for key, column in (("tracks", tracks), ("times", times)):
        if column.shape != (rows,):
            _fail(path, key, f"{rows} values, one per row", column.shape)
    if not np.isfinite(times).all():
        _fail(path, "times", "finite seconds", "NaN or infinity")
    numbers = np.unique(tracks, return_inverse=True)[1].reshape(-1).astype(np.int64) + 1
    labels = _labels(path, columns.get("labels"), names, rows)
    if labels is not None:
        _one_label_a_track(path, numbers, np.asarray(tracks), labels, names)
    return ScoreTable(names, values.astype(np.float32), labels, numbers, times, path, sha256)


def gather(table: ScoreTable, settings: Settings) -> TrackVerdicts:
    """One verdict per track, by the policy that runs in the pipeline."""
    free = Policy(table.names, dataclasses.replace(settings, threshold=0.0, per_class={}))
    ids = np.unique(table.tracks)
    none, zeros = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.float32)
    boxes = np.tile(np.array([0, 0, 1e6, 1e6], np.float32), (len(ids), 1))
    order = np.lexsort((table.times, table.tracks))
    scores = Scores.of(ids=table.tracks[order], values=table.values[order], times=table.times[order])
    tracks = Tracks.of(ids=ids, boxes=boxes, scores=zeros, labels=none, match=none, age=zeros, unseen=zeros)
    verdicts = free.update(scores, tracks, -np.inf)  # as of long ago: nothing is stale
    judged = verdicts.reason == Reason.OK
    labels = None
    if table.labels is not None:
        labels = table.labels[np.unique(table.tracks, return_index=True)[1]][judged]
    return TrackVerdicts(
        free.probabilities(ids)[judged],
        verdicts.confidence[judged].astype(np.float64),
        verdicts.labels[judged],
        labels,
        int((~judged).sum()),
    )


def _fail(path: Path, key: str, expected: str, given: object) -> NoReturn:
    raise FileFormatError(path if path != Path() else "scores", key, expected=expected, got=given)


def _probabilities(path: Path, values: Array, logits: bool) -> Array:
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        _fail(path, f"row {bad[0] + 1}", "finite scores", f"NaN or infinity in {len(bad)} rows")
    if logits:
        return softmax(values)
    off = np.flatnonzero((np.abs(values.sum(1) - 1) > 1e-2) | (values < 0).any(1))
    if len(off):
        expected = "probabilities that sum to 1 (for raw network outputs add --logits)"
        _fail(path, f"row {off[0] + 1}", expected, [round(float(v), 4) for v in values[off[0]]])
    return np.asarray(values / values.sum(1, keepdims=True))


def _labels(path: Path, given: Array | None, names: tuple[str, ...], rows: int) -> Array | None:
    if given is None:
        return None
    given = np.asarray(given)
    if given.shape != (rows,):
        _fail(path, "labels", f"{rows} values, one per row", given.shape)
    index = {name: number for number, name in enumerate(names)}
    if given.dtype.kind in "iu":
        labels = given.astype(np.int64)
    else:
        unknown = [str(g) for g in given if str(g) not in index]
        if unknown and not all(u.isdigit() for u in unknown):
            _fail(path, "labels", f"one of the classes {', '.join(names)} in every row", unknown[0])
        labels = np.array([index[str(g)] if str(g) in index else int(str(g)) for g in given], np.int64)
    if labels.min() < 0 or labels.max() >= len(names):
        worst = int(labels.min() if labels.min() < 0 else labels.max())
        _fail(path, "labels", f"class indices 0 to {len(names) - 1}", worst)
    return labels


def _one_label_a_track(
    path: Path, numbers: Array, tracks: Array, labels: Array, names: tuple[str, ...]
) -> None:
    first = labels[np.unique(numbers, return_index=True)[1]][numbers - 1]
    rows = np.flatnonzero(labels != first)
    if len(rows):
        one, two = names[int(first[rows[0]])], names[int(labels[rows[0]])]
        expected = "one label per track (where its label changes, begin another track in the table)"
        _fail(path, f"track {tracks[rows[0]]}", expected, f"{one} and {two}")


def _read_csv(path: Path) -> dict[str, Array]:
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(path, "the whole file", expected="CSV text", got=str(error)) from None
    if not lines or len(lines) < 2:
        _fail(path, "the whole file", "a header line and at least one row", f"{len(lines)} lines")
    head, rows = [name.strip() for name in lines[0]], [line for line in lines[1:] if line]
    for number, row in enumerate(rows, 2):
        if len(row) != len(head):
            _fail(path, f"line {number}", f"{len(head)} values as in the header", len(row))
    names = [name for name in head if name not in SPECIAL]
    columns = {name: [row[place].strip() for row in rows] for place, name in enumerate(head)}
    if len(columns) < len(head):
        _fail(path, "header", "different column names", head)
    if not names:
        _fail(path, "header", "a column for each class next to " + ", ".join(SPECIAL), head)
    made: dict[str, Array] = {"names": np.array(names)}
    made["values"] = np.stack([_floats(path, name, columns[name]) for name in names], 1)
    if "label" in columns:
        if not all(columns["label"]):
            empty = columns["label"].index("") + 2
            _fail(path, f"line {empty}: label", "a class in every row (or no label column at all)", "nothing")
        made["labels"] = np.array(columns["label"])
    made |= {"tracks": np.array(columns["track"])} if "track" in columns else {}
    made |= {"times": _floats(path, "time", columns["time"])} if "time" in columns else {}
    return made


def _floats(path: Path, name: str, texts: list[str]) -> Array:
    values: list[float] = []
    try:
        values.extend(map(float, texts))  # those before a wrong one are added
    except ValueError:
        _fail(path, f"line {len(values) + 2}: {name}", "a number", texts[len(values)])
    return np.array(values)


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as read:
            columns = {key: read[key] for key in read.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            path, "the whole file", expected="an NPZ of plain arrays", got=str(error)
        ) from None
    known = ("values", "labels", "tracks", "times", "names")
    if "values" not in columns or set(columns) - set(known):
        _fail(path, "arrays", f"values, and optionally {', '.join(known[1:])}", sorted(columns))
    return columns

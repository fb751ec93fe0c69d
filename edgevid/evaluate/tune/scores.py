"""Score tables for tuning: CSV or NPZ, checked, and reduced to one verdict per track. What values and labels
are is never guessed: a policy's guarantee holds for the numbers that it was tuned on. Where the deployment
gives others (probabilities, where the table holds their softmax), a certified 15 % of errors can be 20 %."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from edgevid.abstain.policy import BANDS, Policy, Settings
from edgevid.actions.recognizer import softmax
from edgevid.errors import InputError, check_choice
from edgevid.evaluate.evaluation import trained_notes
from edgevid.evaluate.tune.score_files import fail, named, read_columns
from edgevid.files import sha256_of
from edgevid.types import Array, Reason, Scores, Tracks

ValueKind = Literal["auto", "probabilities", "percent", "logits"]
LabelKind = Literal["auto", "names", "indices"]
SUM = 1e-2  # How far from 1 a row may sum, as of the policy
COARSE = 3  # Values of so few decimals tie, and the policy will see them unrounded
ENOUGH = 30  # Fewer rows show no habit of their writer


def to_probabilities(path: Path, values: Array, kind: ValueKind) -> tuple[Array, int]:
    """(N, C) float32 rows that sum to 1, and the decimals that they were rounded to (0: to none that matter).
    `values` (N, C) float64 are worked on in place. FileFormatError where they are not what `kind` states."""
    check_choice(kind, get_args(ValueKind), "values")
    sums = values.sum(1)
    if not np.isfinite(sums).all():
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        fail(path, f"row {bad[0] + 1}", "finite scores", f"NaN or infinity in {len(bad)} rows")
    low, high = values.min(), values.max()
    near_100 = np.abs(sums - 100) <= max(1, values.shape[1] / 2)  # each may be rounded to an integer
    percent = bool(low >= 0 and high > 2 and near_100.mean() > 0.9)
    if kind == "logits":
        if percent or (low >= 0 and high <= 1):
            what = "are percentages" if percent else "lie from 0 to 1, as probabilities or sigmoids do"
            fail(path, "values", "raw network outputs, as --logits states", None, text=f"these {what}")
        return softmax(values).astype(np.float32), 0
    if kind == "percent" or percent:
        if not (kind == "percent" and percent):
            text = "these are percentages (then add --values percent)" if percent else "these do not"
            fail(path, "values", f"rows that sum to {1 if percent else 100}", None, text=text)
        values /= 100
        sums /= 100
    decimals = 0 if kind == "probabilities" else _decimals(values)
    rounding = min(0.1, values.shape[1] * 0.5 * 10.0**-decimals) if decimals else 0.0
    off = np.flatnonzero((values.min(1) < 0) | (np.abs(sums - 1) > max(SUM, rounding) + 1e-9))
    if len(off):
        row = [round(float(v), 4) for v in values[off[0]][:8]]
        fail(path, f"row {off[0] + 1}", f"probabilities that sum to 1{_remedy(values, sums)}", row)
    # A softmax of p gives log q_i = p_i + constant, and all p sum to 1: so p = log q - mean(log q) + 1 / C.
    second = False
    if kind == "auto" and len(values) >= ENOUGH and values.min() > 0:
        logs = np.log(values)
        before = logs - logs.mean(1, keepdims=True) + 1 / values.shape[1]
        slack = 1e-3 + np.abs(values.sum(1, keepdims=True) - 1)
        second = (before > -slack).all() and (before < 1 + slack).all() and before.max() > 0.6
    if second:
        text = (
            "these look like a softmax of probabilities: no class is above e = 2.72 times another in any row "
            "(where the model gives such ones, add --values probabilities)"
        )
        fail(path, "values", "the probabilities that the policy will see", None, text=text)
    values /= sums[:, None]
    return values.astype(np.float32), decimals


def _decimals(values: Array) -> int:
    """The decimals that all values are rounded to where they are at most COARSE; else 0, as for 0 and 1."""
    for decimals in range(COARSE + 1) if len(values) >= ENOUGH else ():
        scaled = values[:ENOUGH] * 10**decimals  # most tables are finer, and show it at once
        if np.abs(scaled - np.rint(scaled)).max() < 1e-4:
            scaled = values * 10**decimals
            if np.abs(scaled - np.rint(scaled)).max() < 1e-4:
                return decimals
    return 0


def label_indices(path: Path, given: Array | None, names: tuple[str, ...], rows: int, kind: LabelKind) -> Array | None:
    """(N,) class indices of labels that are all names, or all indices."""
    check_choice(kind, get_args(LabelKind), "labels")
    if given is None:
        return None
    given = np.asarray(given)
    if given.shape != (rows,):
        fail(path, "labels", f"{rows} values, one per row", given.shape)
    kinds, inverse = np.unique(given, return_inverse=True)
    texts = [str(one) for one in kinds]
    place = {name: number for number, name in enumerate(names)}
    named = [text for text in texts if text in place]
    numbered = [text for text in texts if text.isascii() and text.isdecimal()]
    if kind == "auto":
        kind = _label_kind(path, texts, named, numbered, place)
    known = named if kind == "names" else numbered
    if len(known) < len(texts):
        unknown = next(text for text in texts if text not in known)
        what = f"one of the classes {', '.join(names)}" if kind == "names" else f"0 to {len(names) - 1}"
        fail(path, "labels", f"{what} in every row", unknown)
    indices = np.array([place[text] if kind == "names" else int(text) for text in texts], np.int64)
    if indices.max() >= len(names):
        fail(path, "labels", f"class indices 0 to {len(names) - 1}", int(indices.max()))
    return np.asarray(indices[inverse.reshape(-1)])


def _label_kind(path: Path, texts: list[str], named: list[str], numbered: list[str], at: dict[str, int]) -> LabelKind:
    if not named:
        return "indices" if len(numbered) == len(texts) else "names"
    if all(text in named for text in texts):
        two = [text for text in texts if text in numbered and int(text) != at[text]]
        if len(numbered) < len(texts) or not two or max(map(int, numbered)) >= len(at):
            return "names"
        text = f"{two[0]} is the name of class {at[two[0]]} and the index of another"
    else:
        other = next(text for text in texts if text not in named)
        if other not in numbered:
            return "names"
        text = f"got {named[0]!r} and {other!r}"
    expected = "names of classes in all rows, or indices from 0 (state it with --labels names or indices)"
    fail(path, "labels", expected, None, text=text)


def _remedy(values: Array, sums: Array) -> str:
    if values.min() >= 0 and values.max() <= 1 and (np.abs(sums - 1) > SUM).mean() > 0.1:
        return (
            " (each class by itself, as a sigmoid gives it, is not what the policy will see: write the "
            "network's raw outputs)"
        )
    if len(values) >= ENOUGH and values.min() >= 0 and np.ptp(sums) <= 0.01 * sums.mean():
        return f" (all rows sum to {sums.mean():.6g}: divide by that)"
    return " (for raw network outputs add --logits)" if values.min() < 0 or values.max() > 1 else ""


AT_ONCE = 20_000  # Tracks that a policy decides at a time: each takes memory in it


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Class probabilities and their labels; row i of all columns is one observation."""

    names: tuple[str, ...]
    values: Array  # (N, C) float32 probabilities
    labels: Array | None  # (N,) true class indices, None where unknown
    tracks: Array  # (N,) int64, 1 to the number of tracks; rows without a track column are a track each
    times: Array  # (N,) seconds; the order of the rows where there is no time column
    decimals: int = 0  # Decimals that the values were rounded to, 0 where that is too fine to matter
    path: Path = Path()
    sha256: str = ""
    typicality: Array | None = None  # (N,) p-values of being like the training, NaN where unknown; None: of no row
    bands: Array | None = None  # (N,) of BANDS, "" in sound images; None: all are
    trained: Array | None = None  # (N,) whether the model was trained on the track's clip or scene; None: not stated
    notes: Sequence[str] = ()  # What is not stated, and what was left out

    def of_tracks(self, chosen: Array) -> ScoreTable:
        """Only the rows of these tracks."""
        rows = np.isin(self.tracks, chosen)
        columns = ("values", "labels", "tracks", "times", "typicality", "bands", "trained")
        picked = {name: c[rows] for name in columns if (c := getattr(self, name)) is not None}
        return dataclasses.replace(self, **picked)

    def typicality_of_tracks(self, memory_s: float) -> Array:
        """(K,) mean typicality of each track with any, as the policy takes it."""
        if self.typicality is None:
            return np.zeros(0)
        last = np.full(self.tracks.max() + 1, -np.inf)
        np.maximum.at(last, self.tracks, self.times)
        weight = np.exp((self.times - last[self.tracks]) / memory_s) * ~np.isnan(self.typicality)
        total, sums = (np.bincount(self.tracks, w) for w in (weight, weight * np.nan_to_num(self.typicality)))
        return np.asarray(sums[total > 0] / total[total > 0])


@dataclass(frozen=True, slots=True)
class TrackVerdicts:
    """The verdict of each track after its last observation, before any threshold."""

    probabilities: Array  # (K, C) calibrated class probabilities
    confidence: Array  # (K,) float64, exact values of float32, as the policy compares them
    predicted: Array  # (K,) class index
    labels: Array | None  # (K,) true class
    undecided: int  # Tracks beyond the K, abstained on by observations, time, agreement, margin or typicality
    bands: Array | None = None  # (K,) as of the table

    @property
    def wrong(self) -> Array:
        """(K,) whether the verdict is wrong."""
        if self.labels is None:
            raise InputError("tune: expected labels, got scores without them")
        return np.asarray(self.predicted != self.labels)

    def parents(self, below: Array, rows: Array) -> TrackVerdicts:
        """The best parents of these rows; `below` (C, P) has a 1 where a class is below a parent."""
        sums = self.probabilities[rows] @ below
        best = sums.argmax(1)
        labels = None if self.labels is None else np.where(below.any(1), below.argmax(1), -1)[self.labels[rows]]
        return TrackVerdicts(sums, sums.max(1).astype(np.float64), best, labels, 0)


def read_scores(path: str | Path, *, values: ValueKind = "auto", labels: LabelKind = "auto") -> ScoreTable:
    """The score table at `path`, of tracks that the model was not trained on; a note names others, which are left
    out, or that the file does not state them. `values` and `labels` are as of `make_table`."""
    path = Path(path)
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    table = make_table(read_columns(path), path=path, sha256=sha256, values=values, labels=labels)
    seen, first = table.trained, np.unique(table.tracks, return_index=True)[1]
    notes = trained_notes(None if seen is None else seen[first], named(path))
    kept = table if seen is None or not seen.any() else table.of_tracks(table.tracks[~seen])
    return dataclasses.replace(kept, notes=notes)


def make_table(
    columns: Mapping[str, Array], *, path: Path = Path(), sha256: str = "", values: ValueKind = "auto",
    labels: LabelKind = "auto",
) -> ScoreTable:  # fmt: skip
    """The checked table of `values` and optional `labels`, `tracks`, `times`, `names`, `typicality`, `bands`
    and `trained`.

    The policy will see probabilities of a softmax: "auto" takes those, and is an InputError for others (percentages,
    sigmoids, a second softmax). "probabilities", "percent" and "logits" state what the values are, "names" and
    "indices" what labels are that could be both."""
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
    first = np.unique(numbers, return_index=True)[1][numbers - 1]  # Of each row the first one of its track
    truth = label_indices(path, columns.get("labels"), names, rows, labels)
    if truth is not None and len(other := np.flatnonzero(truth != truth[first])):
        got = f"{names[truth[first[other[0]]]]} and {names[truth[other[0]]]}"
        expected = "one label per track (where its label changes, begin another track in the table)"
        fail(path, f"track {np.asarray(tracks)[other[0]]}", expected, got)
    typicality = columns.get("typicality")
    if typicality is not None and (
        np.shape(typicality) != (rows,) or not ((typicality >= 0) & (typicality <= 1) | np.isnan(typicality)).all()
    ):
        fail(path, "typicality", f"{rows} p-values from 0 to 1, one per row (NaN where unknown)", np.shape(typicality))
    bands = columns.get("bands")
    if bands is not None:
        bands = np.char.lower(np.asarray(bands, str))
        bands[bands == "ok"] = ""
        if unknown := set(bands.tolist()) - {"", *BANDS}:
            fail(path, "band", f"OK or one of {', '.join(BANDS)}", sorted(unknown))
        if (bands != bands[first]).any():
            fail(path, "band", "one per track (where it changes, begin another track in the table)", "several")
    trained = columns.get("trained")
    if trained is not None:
        if np.shape(trained) != (rows,) or not np.isin(trained, (0, 1)).all():
            expected = f"{rows} values, 1 where the model was trained on the row's clip or scene, else 0"
            fail(path, "trained", expected, np.shape(trained))
        trained = np.isin(numbers, numbers[np.asarray(trained, bool)])
    return ScoreTable(names, shares, truth, numbers, times, decimals, path, sha256, typicality, bands, trained)


def gather(table: ScoreTable, settings: Settings) -> TrackVerdicts:
    """One verdict per track, by the policy that runs in the pipeline."""
    free = Policy(table.names, dataclasses.replace(settings, threshold=0.0, per_class={}, tree={}))
    order = np.lexsort((table.times, table.tracks))
    first = np.flatnonzero(np.diff(table.tracks[order], prepend=-1))
    parts = []
    for rows in np.split(order, first[AT_ONCE::AT_ONCE]):
        parts.append(decide(free, table, rows))
        free.reset()
    probabilities, confidence, predicted, judged = map(np.concatenate, zip(*parts, strict=True))
    labels, bands = (None if one is None else one[order[first]][judged] for one in (table.labels, table.bands))
    return TrackVerdicts(probabilities, confidence, predicted, labels, int((~judged).sum()), bands)


def decide(policy: Policy, table: ScoreTable, rows: Array) -> tuple[Array, Array, Array, Array]:
    """Probabilities, confidence and class of the tracks that rows, by track and time, decide, and which those are."""
    own = table.tracks[rows]
    ids = own[np.diff(own, prepend=-1) != 0]
    none, zeros = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.float32)
    boxes = np.tile(np.array([0, 0, 1e6, 1e6], np.float32), (len(ids), 1))
    typicality = None if table.typicality is None else table.typicality[rows, None]
    scores = Scores.of(ids=own, values=table.values[rows], times=table.times[rows], typicality=typicality)
    tracks = Tracks.of(ids=ids, boxes=boxes, scores=zeros, labels=none, match=none, age=zeros, unseen=zeros)
    verdicts = policy.update(scores, tracks, -np.inf)  # as of long ago: nothing is stale
    judged = verdicts.reason == Reason.OK
    confidence = verdicts.confidence[judged].astype(np.float64)
    return policy.probabilities(ids[judged]).astype(np.float32), confidence, verdicts.labels[judged], judged

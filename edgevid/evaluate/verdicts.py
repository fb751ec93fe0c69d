"""Verdicts on labeled items: two models' accuracy and risk by a paired bootstrap, and whether a policy holds."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevid.abstain.file import read_policy, shift
from edgevid.errors import InputError
from edgevid.evaluate.evaluation import Evaluation, Plot, Table, clopper_pearson, shown, trained_notes
from edgevid.evaluate.evaluation import compare as differences
from edgevid.evaluate.tune.risk import curve, min_error_free, reliability, upper_bound
from edgevid.evaluate.tune.score_files import read_columns
from edgevid.evaluate.tune.scores import decide, gather, make_table, read_scores
from edgevid.evaluate.tune.search import band_limits, coarser, passes
from edgevid.types import Array


class TrackScores(NamedTuple):
    """K labeled tracks (items) of C classes."""

    items: tuple[str, ...]
    names: tuple[str, ...]
    labels: Array
    probabilities: Array  # (K, C) means over the rows of each track
    emitted: Array  # (K,) whether the policy emits a verdict; all without one
    wrong: Array  # (K,) whether the verdict, the policy's or the most probable class, is wrong
    trained: Array | None = None  # (K,) whether the model was trained on it; None: not stated


def read_tracks(path: Path, policy: Path | None = None) -> TrackScores:
    """The tracks of a CSV or NPZ of scores (docs/abstain.md); InputError without labels."""
    columns = read_columns(path)
    table = make_table(columns, path=path)
    if table.labels is None:
        raise InputError(f"{path}: expected the true classes in a column label, got none")
    _, first = np.unique(table.tracks, return_index=True)
    labels, total = table.labels[first], np.zeros((len(first), len(table.names)))
    np.add.at(total, table.tracks - 1, table.values)
    predicted, emitted = total.argmax(1), np.ones(len(first), bool)
    if policy is not None:
        rules = read_policy(policy, names=table.names).policy()
        _, confidence, decided, emitted = decide(rules, table, np.lexsort((table.times, table.tracks)))
        predicted[emitted] = decided
        bands = None if table.bands is None else table.bands[first][emitted]
        emitted[emitted] = confidence >= band_limits(bands, rules.settings)
    items = tuple(str(columns["tracks"][row]) if "tracks" in columns else str(row + 1) for row in first)
    seen = None if table.trained is None else table.trained[first]
    shares = total / total.sum(1, keepdims=True)
    return TrackScores(items, table.names, labels, shares, emitted, predicted != labels, seen)


def compare(a: TrackScores, b: TrackScores, groups: Sequence[str] | None = None) -> Evaluation:
    """Differences of "accuracy" and, where a policy abstains, of the "risk" and "coverage" of emitted verdicts.
    `groups` (K,) are scenes, drawn as wholes; None: each track is one. Tracks that one of the models was trained on are
    left out. InputError for other tracks or labels."""
    one, two = ([(i, s.names[k]) for i, k in zip(s.items, s.labels, strict=True)] for s in (a, b))
    if one != two:
        other = next((f"{x} and {y}" for x, y in zip(one, two, strict=False) if x != y), "")
        raise InputError(f"compare: expected the same tracks and labels, got {len(one)} and {len(two)} tracks {other}")
    stated = [s.trained for s in (a, b) if s.trained is not None]
    seen = np.any([*stated, np.zeros(len(one), bool)], axis=0)
    notes = trained_notes(seen, "compare") + (trained_notes(None, "") if len(stated) < 2 else [])
    keys, number = np.unique(np.array(a.items if groups is None else list(groups))[~seen], return_inverse=True)
    abstains = not (a.emitted.all() and b.emitted.all())
    return differences(*(_evaluation(s, ~seen, keys.tolist(), number, abstains, notes) for s in (a, b)))


def _evaluation(scores: TrackScores, rows: Array, keys: list[str], number: Array, abstains: bool,
                notes: Sequence[str]) -> Evaluation:  # fmt: skip
    sums, every = np.zeros((len(keys), 4)), np.ones(len(rows))
    columns = np.stack([~scores.wrong, scores.wrong & scores.emitted, scores.emitted, every], 1)
    np.add.at(sums, number, columns[rows])

    def measure(counts: Array) -> dict[str, float]:
        right, bad, emitted, tracks = (counts @ sums).tolist()
        more = {"risk": bad / emitted if emitted else np.nan, "coverage": emitted / max(tracks, 1)} if abstains else {}
        return {"accuracy": right / max(tracks, 1), **more}

    return Evaluation("scores", keys, "group of tracks", measure, notes=notes)


def evaluate(policy: Path, truth: Path, *, values: Any = "auto", labels: Any = "auto") -> Evaluation:
    """Risk and coverage of the policy on a table of scores (docs/abstain.md), and what became of its promise. A group
    is a track; parents of a [tree] count among the emitted verdicts. InputError for classes that are not the policy's,
    scores without labels, and numbers that the policy will not see, such as a softmax of probabilities."""
    table = read_scores(truth, values=values, labels=labels)
    file = read_policy(policy, names=table.names)
    verdicts = gather(table, file.settings)
    if verdicts.labels is None:
        raise InputError(f"{truth}: expected the true classes in a column label, got none")
    emitted, of_classes = passes(verdicts, file.settings, file.names), verdicts.wrong
    wrong, confidence, levels = of_classes.copy(), verdicts.confidence.copy(), list[tuple[str, str]]()
    if file.settings.tree:
        parents, reached = coarser(verdicts, file.settings, file.names)
        taken = np.flatnonzero(~emitted)[reached]
        levels = [("errors of classes", f"{int((emitted & wrong).sum())} of {int(emitted.sum())}"),
                  ("errors of parents", f"{int(parents.wrong[reached].sum())} of {len(taken)}")]  # fmt: skip
        emitted[taken], wrong[taken], confidence[taken] = True, parents.wrong[reached], parents.confidence[reached]
    n, errors, tracks = int(emitted.sum()), int((emitted & wrong).sum()), len(wrong) + verdicts.undecided
    columns = np.zeros((tracks, 4))
    columns[: len(wrong)] = np.stack([emitted, emitted & wrong, of_classes, np.ones(len(wrong))], 1)

    def measure(counts: Array) -> dict[str, float]:
        made, bad, every, decided = (counts @ columns).tolist()
        return {"risk": bad / made if made else math.nan, "coverage": made / max(float(counts.sum()), 1),
                "risk without abstention": every / decided if decided else math.nan}  # fmt: skip

    notes, verdict = [*table.notes], "cannot tell"
    promise, sure = (float(file.made.get(key, math.nan)) for key in ("certified_risk", "certified_with"))
    if table.sha256 == file.made.get("scores_sha256"):
        notes.append("the policy was tuned on these scores: they say nothing about its risk on others")
    elif promise != promise:
        notes.append("the policy promises no risk: it was not tuned with --max-risk")
    elif n and upper_bound(errors, n, 1 - sure) <= promise:
        verdict = "held"
    elif n and 1 - upper_bound(n - errors, n, 1 - sure) > promise:
        verdict = "broken"
    else:
        notes.append(f"{errors} errors of {n} emitted verdicts are on neither side of {shown(promise)} for sure: add "
                     f"tracks, at least {min_error_free(promise, 1 - sure)} emitted ones")  # fmt: skip
    known = file.tuned.quantiles
    if known and len(confidence) and (found := shift(np.array(known), confidence)).alarm:
        notes.append(f"confidences differ from those of the tuning (KS {found.ks:.2f}, PSI {found.psi:.2f}), for which "
                     "the promise is: are these the numbers that the policy sees?")  # fmt: skip
    if values != "auto":
        notes.append(f"scores were taken as {values} without a check")
    rows = [("promised risk", shown(promise)), ("measured risk", shown(errors / n if n else math.nan)),
            ("errors of emitted", f"{errors} of {n}"), *levels, ("promise", verdict)]  # fmt: skip
    plots = {}
    if len(wrong):
        line, bins = curve(verdicts.confidence, of_classes), reliability(verdicts.confidence, ~of_classes)
        ends = np.unique(np.linspace(0, len(line.emitted) - 1, 400).astype(int))
        some = bins.counts > 0
        plots = {"Risk and coverage": Plot("coverage", "risk", {"measured": (line.coverage[ends], line.risk[ends])}),
                 "Reliability": Plot("confidence", "share correct", {"calibrated": ([0, 1], [0, 1]),
                     "measured": (bins.confidence[some], bins.accuracy[some])})}  # fmt: skip
        notes.append(f"AURC {line.aurc:.4f}, E-AURC {line.e_aurc:.4f}, ECE {bins.ece:.4f}")
    tables, exact = {"Promise": Table(("", "value"), rows)}, {"risk": clopper_pearson(errors, n)}
    groups = [str(k + 1) for k in range(tracks)]
    return Evaluation("abstain", groups, "track", measure, {}, exact, tables, plots, notes=notes)

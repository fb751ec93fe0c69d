"""Whether the promise of an abstain policy holds on new labeled data."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.abstain.drift import shift
from edgevid.abstain.file import read_policy
from edgevid.errors import InputError
from edgevid.evaluate.evaluation import Evaluation, Plot, Table, clopper_pearson, shown
from edgevid.evaluate.tune.risk import curve, min_error_free, reliability, upper_bound
from edgevid.evaluate.tune.scores import gather, read_scores
from edgevid.evaluate.tune.search import coarser, passes
from edgevid.types import Array


def evaluate(policy: Path, truth: Path, *, values: Any = "auto", labels: Any = "auto") -> Evaluation:
    """Risk and coverage of the policy on a table of scores (docs/abstain.md), and what became of its promise. A
    group is a track; parents of a [tree] count among the emitted verdicts. InputError for other classes than the
    policy's, for scores without labels, and for numbers that the policy will not see, such as a softmax of
    probabilities."""
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

    notes, verdict = list[str](), "cannot tell"
    promise, sure = (float(file.made.get(key, math.nan)) for key in ("certified_risk", "certified_with"))
    if promise != promise:
        notes.append("the policy promises no risk: it was not tuned with --max-risk")
    elif n and upper_bound(errors, n, 1 - sure) <= promise:
        verdict = "held"
    elif n and 1 - upper_bound(n - errors, n, 1 - sure) > promise:
        verdict = "broken"
    else:
        notes.append(f"{errors} errors of {n} emitted verdicts are on neither side of {shown(promise)} for sure: add "
                     f"tracks, at least {min_error_free(promise, 1 - sure)} emitted ones")  # fmt: skip
    known = file.tuned.quantiles
    if len(known) and len(confidence):
        found = shift(np.array(known), confidence)
        if found.alarm:
            notes.append(f"confidences differ from those of the tuning (KS {found.ks:.2f}, PSI {found.psi:.2f}), for "
                         "which the promise is: are these the numbers that the policy sees?")  # fmt: skip
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

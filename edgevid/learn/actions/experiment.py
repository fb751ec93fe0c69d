"""A head trained, compared with the plainest baseline on held-out data, exported and checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, check, stitch
from edgevid.evaluate.actions.metrics import ClassReport, Interval, SegmentReport, interval
from edgevid.evaluate.actions.plots import plot_confusion, plot_curves
from edgevid.learn.actions.asformer import ASFormerHead, segmentation_loss
from edgevid.learn.actions.export import Deployment, Parity, check_parity, export_head
from edgevid.learn.actions.heads import Head, LinearHead, RecurrentHead, StepLinearHead
from edgevid.learn.actions.training import Fitted, TrainOptions, answers, clip_loss, fit, step_of, windows_of
from edgevid.learn.actions.transformer import TransformerHead

HEADS = ("gru", "lstm", "transformer", "asformer")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One head trained once and judged on data it never saw."""

    split: str
    seed: int
    accuracy: float
    """Share of right clips (of right steps, for segmentation)."""
    baseline: float
    """The mean-pooled linear head's (the linear step's) on the same data and seed."""
    segments: SegmentReport | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All trials, and the head that was exported."""

    trials: tuple[Trial, ...]
    recipe: Path
    parity: Parity
    report: ClassReport
    cpu_s: float

    def accuracy(self) -> Interval:
        """Mean and 95 % interval over seeds of the mean over splits."""
        return interval(self._by_seed("accuracy"))

    def baseline(self) -> Interval:
        """The same of the linear baseline."""
        return interval(self._by_seed("baseline"))

    def _by_seed(self, what: str) -> list[float]:
        seeds = sorted({t.seed for t in self.trials})
        return [float(np.mean([getattr(t, what) for t in self.trials if t.seed == s])) for s in seeds]


def make_head(
    kind: str, width: int, classes: int, *, window: int, causal: bool = True, bidirectional: bool = False
) -> Head:
    """A fresh head of one of `HEADS`."""
    if kind in ("gru", "lstm"):
        return RecurrentHead(
            width, classes, cell=kind, bidirectional=bidirectional or not causal, window=window
        )
    if kind == "transformer":
        return TransformerHead(width, classes, window=window, causal=causal)
    if kind == "asformer":
        return ASFormerHead(width, classes, causal=causal)
    raise InputError(f"head: expected one of {', '.join(HEADS)}, got {kind!r}")


def run(
    splits: Mapping[str, tuple[Corpus, Corpus]],
    kind: str,
    out: Path,
    options: TrainOptions,
    told: Deployment,
    *,
    seeds: int = 3,
    causal: bool = True,
    validation: Mapping[str, Corpus] | None = None,
    stitched: int = 0,
    say: Say = lambda line: None,
) -> Outcome:
    """Trains `kind` on every split with every seed; exports the first one and writes report and plots.

    `stitched` clips in a row make the long sequences of a segmentation head where no video is
    labeled by steps.
    """
    if seeds < 1:
        raise InputError(f"seeds: expected at least 1, got {seeds}")
    trials: list[Trial] = []
    kept: tuple[Fitted, Corpus] | None = None
    cpu_s = 0.0
    for seed in range(seeds):
        for name, (train, test) in splits.items():
            mine = dataclasses.replace(options, seed=seed)
            held = (validation or {}).get(name)
            if stitched:
                train = stitch(train, len(train), seed=seed, length=stitched)
                test = stitch(check(test, what="test"), 2 * len(test) // stitched, seed=0, length=stitched)
            fitted, trial = _trial(kind, name, train, test, held, mine, causal=causal)
            cpu_s += fitted.cpu_s
            trials.append(trial)
            kept = kept or (fitted, test)
            say(
                f"split {name} seed {seed}: {kind} {100 * trial.accuracy:.1f} %, "
                f"linear baseline {100 * trial.baseline:.1f} % ({fitted.cpu_s:.0f} CPU s)"
            )
    assert kept is not None
    return _deliver(kept, trials, kind, out, told, cpu_s)


def _trial(
    kind: str,
    name: str,
    train: Corpus,
    test: Corpus,
    held: Corpus | None,
    options: TrainOptions,
    *,
    causal: bool,
) -> tuple[Fitted, Trial]:
    check(test, what="test")
    width, classes = train.width, len(train.names)
    segmenting = kind == "asformer"
    loss = segmentation_loss if segmenting else clip_loss

    def fresh() -> Head:
        return make_head(kind, width, classes, window=options.window, causal=causal)

    def plain() -> Head:
        return (StepLinearHead if segmenting else LinearHead)(width, classes)

    fitted = fit(fresh, train, held, options, objective=loss)
    base = fit(plain, train, held, options, objective=loss)
    accuracy, segments = judge(fitted.head, test, options)
    return fitted, Trial(name, options.seed, accuracy, judge(base.head, test, options)[0], segments)


def judge(head: Head, test: Corpus, options: TrainOptions) -> tuple[float, SegmentReport | None]:
    """Accuracy on a corpus, and the segmentation measures of a head that answers each step."""
    said = answers(head, test, options).argmax(-1)
    _, valid, labels = windows_of(test, options)
    if not head.per_step:
        return float((said == test.labels).mean()), None
    kept = [
        (t[v].tolist(), s[v].tolist()) for t, s, v in zip(labels.numpy(), said, valid.numpy(), strict=True)
    ]
    report = SegmentReport.of([t for t, _ in kept], [s for _, s in kept])
    return report.accuracy / 100, report


def _deliver(
    kept: tuple[Fitted, Corpus], trials: list[Trial], kind: str, out: Path, told: Deployment, cpu_s: float
) -> Outcome:
    fitted, test = kept
    recipe = export_head(fitted.head, out, f"actions-{kind}", fitted.options, told)
    parity = check_parity(fitted.head, out, test, fitted.options)
    said, truth = answers(fitted.head, test, fitted.options).argmax(-1), test.labels
    if fitted.head.per_step:
        _, valid, labels = windows_of(test, fitted.options)
        said, truth = said[valid.numpy()], labels.numpy()[valid.numpy()]
    report = ClassReport.of(truth, said, len(test.names), test.names)
    plot_curves(
        fitted.history, fitted.best_epoch, f"{kind}, split {trials[0].split}, seed 0", out / "curves.png"
    )
    plot_confusion(report, f"{kind}, held-out data of split {trials[0].split}", out / "confusion.png")
    outcome = Outcome(tuple(trials), recipe, parity, report, cpu_s)
    _write(outcome, kind, fitted.options, test, out)
    return outcome


def _write(outcome: Outcome, kind: str, options: TrainOptions, test: Corpus, out: Path) -> None:
    """report.json: figures with their conditions."""
    told = {
        "head": kind,
        "classes": list(test.names),
        "rows_a_step": step_of(test, options),
        "options": dataclasses.asdict(options),
        "trials": [
            dataclasses.asdict(t) | {"segments": t.segments and t.segments._asdict()} for t in outcome.trials
        ],
        "accuracy": outcome.accuracy()._asdict(),
        "baseline": outcome.baseline()._asdict(),
        "parity": dataclasses.asdict(outcome.parity),
        "training_cpu_s": outcome.cpu_s,
    }
    (out / "report.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

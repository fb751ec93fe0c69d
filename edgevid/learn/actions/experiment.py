"""Trains a head, compares it with a linear baseline on held-out data, exports and verifies it."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from edgevid.actions.typicality import Typicality
from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, check, concatenate
from edgevid.evaluate.actions.metrics import ClassReport, Interval, SegmentReport, interval
from edgevid.evaluate.evaluation import Evaluation, Plot
from edgevid.evaluate.page import page
from edgevid.evaluate.recognition import class_views
from edgevid.files.atomic import write_atomic
from edgevid.learn.actions.asformer import ASFormerHead, segmentation_loss
from edgevid.learn.actions.export import Deployment, Parity, check_parity, export_head
from edgevid.learn.actions.fit import Fitted, TrainOptions, clip_loss, fit, predict, step_of, windows_of
from edgevid.learn.actions.heads import Head, LinearHead, RecurrentHead, StepLinearHead, TransformerHead

HeadKind = Literal["gru", "lstm", "transformer", "asformer"]
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One head, trained once and evaluated on held-out data."""

    split: str
    seed: int
    accuracy: float
    """Share of correct clips (of correct steps, for segmentation)."""
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

    def interval_of(self, what: Literal["accuracy", "baseline"]) -> Interval:
        """Mean and 95 % interval over seeds of the mean over splits."""
        seeds = sorted({t.seed for t in self.trials})
        means = [float(np.mean([getattr(t, what) for t in self.trials if t.seed == s])) for s in seeds]
        return interval(means)


def check_head(kind: str) -> None:
    """InputError unless it is a HeadKind."""
    if kind not in get_args(HeadKind):
        raise InputError(f"head: expected one of {', '.join(get_args(HeadKind))}, got {kind!r}")


def make_head(kind: HeadKind, width: int, classes: int, *, window: int, causal: bool = True) -> Head:
    """A new head."""
    check_head(kind)
    if kind == "gru" or kind == "lstm":
        return RecurrentHead(width, classes, cell=kind, bidirectional=not causal, window=window)
    if kind == "transformer":
        return TransformerHead(width, classes, window=window, causal=causal)
    return ASFormerHead(width, classes, causal=causal)


class Split(NamedTuple):
    """Training data, held-out test data, and data for early stopping."""

    train: Corpus
    test: Corpus
    validation: Corpus | None = None


def run(
    splits: Mapping[str, Split], kind: HeadKind, out: Path, options: TrainOptions, deployment: Deployment, *,
    seeds: int = 3, causal: bool = True, clips_per_sequence: int = 0, report: Report = lambda line: None,
) -> Outcome:  # fmt: skip
    """Trains `kind` on every split with every seed; exports the first one and writes report and plots.
    `clips_per_sequence` clips one after another make the sequences of a segmentation head where no video is labeled by
    steps."""
    if seeds < 1:
        raise InputError(f"seeds: expected at least 1, got {seeds}")
    trials: list[Trial] = []
    fits: list[tuple[Fitted, Split]] = []
    for seed in range(seeds):
        for name, split in splits.items():
            if clips_per_sequence:
                train, test = split.train, check(split.test, what="test")
                count, length = 2 * len(test) // clips_per_sequence, clips_per_sequence
                split = split._replace(
                    train=concatenate(train, len(train), seed=seed, length=length),
                    test=concatenate(test, count, seed=0, length=length),
                )
            fitted, trial = _trial(kind, name, split, dataclasses.replace(options, seed=seed), causal=causal)
            trials.append(trial)
            fits.append((fitted, split))
            report(
                f"split {name} seed {seed}: {kind} {100 * trial.accuracy:.1f} %, "
                f"linear baseline {100 * trial.baseline:.1f} % ({fitted.cpu_s:.0f} CPU s)"
            )
    return _deploy(*fits[0], trials, kind, out, deployment, sum(fitted.cpu_s for fitted, _ in fits))


def _trial(kind: HeadKind, name: str, split: Split, options: TrainOptions, *, causal: bool) -> tuple[Fitted, Trial]:
    train, test, held = split
    check(test, what="test")
    width, classes = train.width, len(train.names)
    linear, loss = (StepLinearHead, segmentation_loss) if kind == "asformer" else (LinearHead, clip_loss)
    new_head = partial(make_head, kind, width, classes, window=options.window, causal=causal)
    fitted = fit(new_head, train, held, options, objective=loss)
    base = fit(partial(linear, width, classes), train, held, options, objective=loss)
    accuracy, segments = evaluate(fitted.head, test, options)
    return fitted, Trial(name, options.seed, accuracy, evaluate(base.head, test, options)[0], segments)


def evaluate(head: Head, test: Corpus, options: TrainOptions) -> tuple[float, SegmentReport | None]:
    """Accuracy on a corpus, and the segmentation measures of a head that scores each step."""
    predicted = predict(head, test, options).argmax(-1)
    _, valid, labels = windows_of(test, options)
    if not head.per_step:
        return float((predicted == test.labels).mean()), None
    rows = list(zip(labels.numpy(), predicted, valid.numpy(), strict=True))
    report = SegmentReport.of([t[v].tolist() for t, _, v in rows], [p[v].tolist() for _, p, v in rows])
    return report.accuracy / 100, report


def _deploy(
    fitted: Fitted, data: Split, trials: list[Trial], kind: HeadKind, out: Path, deployment: Deployment,
    cpu_s: float,
) -> Outcome:  # fmt: skip
    """Exports and verifies a head; writes its plots and report.json, figures with their conditions."""
    head, options, test = fitted.head, fitted.options, data.test
    typicality = None if head.per_step else typicality_of(head, data.train, test, options)
    recipe = export_head(head, out, f"actions-{kind}", options, deployment, typicality)
    parity = check_parity(head, out, test, options)
    predicted, truth = predict(head, test, options).argmax(-1), test.labels
    if head.per_step:
        _, valid, labels = windows_of(test, options)
        predicted, truth = predicted[valid.numpy()], labels.numpy()[valid.numpy()]
    report = ClassReport.of(truth, predicted, len(test.names), test.names)
    write_atomic(out / "report.html", _page(fitted, report, trials[0]))
    outcome = Outcome(tuple(trials), recipe, parity, report, cpu_s)
    figures = {
        "head": kind,
        "classes": list(test.names),
        "rows_a_step": step_of(test, options),
        "options": dataclasses.asdict(options),
        "trials": [dataclasses.asdict(t) | {"segments": t.segments and t.segments._asdict()} for t in trials],
        "accuracy": outcome.interval_of("accuracy")._asdict(),
        "baseline": outcome.interval_of("baseline")._asdict(),
        "parity": dataclasses.asdict(parity),
        "training_cpu_s": cpu_s,
    }
    write_atomic(out / "report.json", json.dumps(figures, indent=1) + "\n")
    return outcome


def typicality_of(head: Head, train: Corpus, held_out: Corpus, options: TrainOptions) -> Typicality:
    """What tells clips that are unlike those of `train`, calibrated on held-out scenes."""
    features, valid, _ = (one.numpy() for one in windows_of(train, options))
    known = Typicality.fit(features, valid, train.labels, len(train.names))
    features, valid, _ = (one.numpy() for one in windows_of(held_out, options))
    return known.calibrated(predict(head, held_out, options), features, valid)


def epochs_plot(fitted: Fitted) -> dict[str, Plot]:
    """Losses and accuracy by epoch; nothing of validation where there was no data for it."""
    kinds = ("train_loss", "validation_loss", "validation_accuracy")
    lines = {kind.replace("_", " "): [getattr(one, kind) for one in fitted.history] for kind in kinds}
    epochs = np.arange(1, len(fitted.history) + 1)
    known = {name: (epochs, values) for name, values in lines.items() if np.isfinite(values).all()}
    return {f"By epoch; the one kept is {fitted.best_epoch + 1}": Plot("epoch", "loss; share correct", known)}


def _page(fitted: Fitted, report: ClassReport, trial: Trial) -> str:
    """The figures and plots of a training."""
    tables, plots = class_views(report)
    plots |= epochs_plot(fitted)
    values = {"held-out accuracy": trial.accuracy, "of the linear baseline": trial.baseline}
    found = Evaluation("training", ["all"], "split", lambda _: values, tables=tables, plots=plots)
    return page(found, found.figures(), f"split {trial.split}, seed {trial.seed}")

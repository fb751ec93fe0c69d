"""Trains a head, compares it with a linear baseline on held-out data, exports and verifies it."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from edgevid.actions import Typicality, softmax
from edgevid.actions.layout import JointLayout
from edgevid.actions.typicality import ALONE, MIXTURES
from edgevid.errors import InputError, check_choice, require
from edgevid.evaluate.actions.data import Corpus, check, marks_of
from edgevid.evaluate.actions.metrics import ClassReport, SegmentReport, interval
from edgevid.evaluate.evaluation import Evaluation, Figure, Plot, Thumb
from edgevid.evaluate.page import page
from edgevid.evaluate.recognition import Scored, class_views, of_scored
from edgevid.files.atomic import atomic_path, write_atomic
from edgevid.learn.actions.augment import as_estimated
from edgevid.learn.actions.export import Deployment, Parity, check_parity, export_head
from edgevid.learn.actions.fit import CHECKPOINT, Fitted, TrainOptions, fit, predict, predict_steps, step_of, windows_of
from edgevid.learn.actions.heads import GraphHead, Head, LinearHead, RecurrentHead, StepLinearHead, TransformerHead
from edgevid.learn.actions.segmentation import LAYERS, SegmentationHead
from edgevid.learn.classifier.network import ImageHead, ImageOptions
from edgevid.types import Array, Progress
from edgevid.video.images import read_image, thumbnail

PAIRS, EACH, SIDE = 6, 8, 96  # Confused pairs on the page, images of each, and their pixels
SHARES = (0.25, 0.5, 1.0)  # Of the training clips, for the learning curve
HeadKind = Literal["gru", "lstm", "transformer", "graph", "asformer", "mstcn", "linear", "svm", "ridge", "compact"]
Report = Callable[[str], None]
PENALTY = 10.0  # C of the support vector machines: what a training clip on the wrong side costs


def support_vectors(kernel: Array, targets: Array) -> tuple[Array, Array]:
    """Weights (N, C) and bias (C,) of one machine for each class against the others, from their kernel (N, N) and
    targets (N, C) of 0 and 1; a class without a clip is never the answer."""
    svm = require("sklearn.svm", extra="train", purpose="the baseline svm")
    weights, bias = np.zeros(targets.shape), np.full(targets.shape[1], -1.0)
    for label in np.flatnonzero(targets.any(0) & ~targets.all(0)):
        machine = svm.SVC(kernel="precomputed", C=PENALTY).fit(kernel, targets[:, label])
        weights[machine.support_, label], bias[label] = machine.dual_coef_[0], machine.intercept_[0]
    return weights, bias


SOLVERS = {"svm": support_vectors, "ridge": None}  # By kind what solves for the weights, as `Typicality.fit` takes it


@dataclass(frozen=True, slots=True)
class Trial:
    """One head, trained once and evaluated on held-out data."""

    split: str
    seed: int
    accuracy: float  # Share of correct clips (of correct steps, for segmentation)
    baseline: float  # The mean-pooled linear head's (the linear step's) on the same data and seed
    segments: SegmentReport | None = None
    baseline_segments: SegmentReport | None = None
    kernels: Mapping[str, float] = field(default_factory=dict)  # Accuracy of each of `SOLVERS`, of clips
    mixed: float = math.nan
    """Of a clip's head with the second opinion, weighted by the other half of the held-out groups."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All trials, and the head that was exported."""

    trials: tuple[Trial, ...]
    recipe: Path
    parity: Parity
    report: ClassReport
    cpu_s: float
    held_out: Figure  # Accuracy of the exported head; the interval is of the groups

    def interval_of(self, what: str) -> Figure:
        """Mean and 95 % interval over seeds of the mean over splits, of a field of `Trial` or one of its kernels."""
        seeds = sorted({t.seed for t in self.trials})
        found = [(t.seed, t.kernels[what] if what in t.kernels else getattr(t, what)) for t in self.trials]
        return interval([float(np.mean([value for seed, value in found if seed == s])) for s in seeds])

    @property
    def compared(self) -> dict[str, Figure]:
        """The accuracy of the head, alone and with its second opinion, and of the baselines."""
        keys = {"accuracy": "the head", "mixed": "with its second opinion", "baseline": "linear"}
        keys |= {kind: kind for kind in self.trials[0].kernels}
        found = {name: self.interval_of(key) for key, name in keys.items()}
        return {name: value for name, value in found.items() if math.isfinite(value.value)}


def make_head(kind: HeadKind, width: int, classes: int, options: TrainOptions, *, causal: bool = True,
              layout: JointLayout | None = None) -> Head:  # fmt: skip
    """A new head; InputError for a graph without the `layout` of skeletons."""
    check_choice(kind, get_args(HeadKind), "head")
    if kind == "compact":
        return ImageHead(classes, options.images or ImageOptions())
    if kind == "linear" or kind in SOLVERS:
        return LinearHead(width, classes)
    given = {key: value for key in ("layers", "pooling", "positions") if (value := getattr(options, key))}
    chosen: Any = {"window": options.window, **given}
    if kind == "gru" or kind == "lstm":
        return RecurrentHead(width, classes, cell=kind, bidirectional=not causal, **chosen)
    if kind == "transformer":
        return TransformerHead(width, classes, causal=causal, **chosen)
    if kind == "graph":
        if layout is None:
            raise InputError("head graph: expected skeletons, as of a pose model, got plain features")
        return GraphHead(width, classes, layout, causal=causal, **chosen)
    layers = options.layers or LAYERS
    return SegmentationHead(width, classes, kind=kind, layers=layers, causal=causal)  # type: ignore[arg-type]


class Split(NamedTuple):
    """Training data, held-out test data, and data for early stopping."""

    train: Corpus
    test: Corpus
    validation: Corpus | None = None


def run(splits: Mapping[str, Split], kind: HeadKind, out: Path, options: TrainOptions, deployment: Deployment, *,
        seeds: int = 3, causal: bool = True, report: Report = lambda line: None,
        progress: Progress = lambda done, total, text: None, learning_curve: bool = False) -> Outcome:  # fmt: skip
    """Trains `kind` on every split with every seed; exports the first one and writes report and plots."""
    if seeds < 1:
        raise InputError(f"seeds: expected at least 1, got {seeds}")
    first = next(iter(splits.values()))

    def make(split: Split) -> Callable[[], Head]:
        width, classes = split.train.width, len(split.train.names)
        return partial(make_head, kind, width, classes, options, causal=causal, layout=split.train.layout)

    with TemporaryDirectory() as folder:  # what cannot be exported is not worth hours of training
        untrained = make(first)()
        export_head(untrained, Path(folder), kind, options, deployment)
        check_parity(untrained, Path(folder), first.test, options)
    trials: list[Trial] = []
    fits: list[tuple[Fitted, Split]] = []
    for seed in range(options.seed, options.seed + seeds):
        for name, split in splits.items():
            file = out / f"{seed}-{name}-{CHECKPOINT}"
            seeded = dataclasses.replace(options, seed=seed)
            fitted, trial = _trial(kind, make(split), name, split, seeded, file, progress)
            trials.append(trial)
            fits.append((fitted, split))
            shares = [(kind, trial.accuracy), ("linear baseline", trial.baseline), *trial.kernels.items()]
            text = ", ".join(f"{which} {100 * share:.1f} %" for which, share in shares)
            report(f"split {name} seed {seed}: {text} ({fitted.cpu_s:.0f} CPU s)")
            report(_course_of(fitted))
    curve = _learning_curve(make(first), first, options) if learning_curve else None
    if curve:
        report(curve[0])
    outcome = _deploy(*fits[0], trials, kind, out, deployment, sum(fitted.cpu_s for fitted, _ in fits), curve)
    for file in out.glob(f"*-{CHECKPOINT}"):
        file.unlink()
    return outcome


def _course_of(fitted: Fitted) -> str:
    norms = [one.gradient_norm for one in fitted.history]
    end = fitted.stopped or f"{len(norms)} epochs"
    return (f"gradient norm: median {np.median(norms):.2g}, largest {max(norms):.2g}; ended by {end}; epoch "
            f"{fitted.best_epoch + 1} is kept")  # fmt: skip


def _learning_curve(make: Callable[[], Head], split: Split, options: TrainOptions) -> tuple[str, Plot]:
    """Held-out errors of trainings with parts of the clips, and what a power law through them expects."""
    order, counts, errors = np.random.default_rng(0).permutation(len(split.train)), [], []
    labels = split.train.labels[order]
    rank = [np.mean(np.flatnonzero(labels == label) < row) for row, label in enumerate(labels)]  # within its class
    for share in SHARES:
        part = split.train.pick(order[np.array(rank) < share])
        head = fit(make, part, split.validation, options).head
        counts.append(len(part))
        errors.append(max(1 - evaluate(head, split.test, options)[0], 0.5 / len(split.test)))
    slope, start = np.polyfit(np.log(counts), np.log(errors), 1)
    expected = np.exp(start + slope * np.log(ahead := [counts[-1], 2 * counts[-1]])).tolist()
    measured = ", ".join(f"{e:.1%} with {n}" for n, e in zip(counts, errors, strict=True))
    text = f"errors {measured}; a power law through them expects {expected[1]:.1%} with twice as many"
    return text, Plot("clips", "share of errors", {"measured": (counts, errors), "expected": (ahead, expected)})


def _trial(kind: HeadKind, make: Callable[[], Head], name: str, split: Split, options: TrainOptions, checkpoint: Path,
           progress: Progress) -> tuple[Fitted, Trial]:  # fmt: skip
    train, test, held = split
    check(test, what="test")
    fitted = fit(make, train, held, options, checkpoint=checkpoint, progress=progress)
    linear = StepLinearHead if fitted.head.per_step else LinearHead
    at_once = dataclasses.replace(options, lookahead=0)
    base = fit(partial(linear, train.width, len(train.names)), train, held, at_once)
    (accuracy, segments), (least, simple) = evaluate(fitted.head, test, options), evaluate(base.head, test, at_once)
    kernels, mixed = ({}, math.nan) if segments or options.images else _kernels(fitted.head, split, options)
    return fitted, Trial(name, options.seed, kernels.get(kind, accuracy), least, segments, simple, kernels, mixed)


def _kernels(head: Head, split: Split, options: TrainOptions) -> tuple[dict[str, float], float]:
    """Accuracy of each of `SOLVERS`, and of the head with a second opinion, mixed as the other half of groups says."""
    test, found = split.test, {}
    logits, described = predict(head, test, options), describe(head, test, options)
    for kind, solve in SOLVERS.items():
        known = Typicality.fit(*training_windows(head, split.train, options), len(test.names), solve)
        opinion = known.opinion(*described)
        found[kind] = float((opinion.argmax(1) == test.labels).mean())
    groups = list(dict.fromkeys(example.group for example in test.examples))
    half, mixed = np.array([groups.index(example.group) % 2 == 0 for example in test.examples]), test.labels * 0
    if half.all():
        return found, math.nan
    for chosen in (half, ~half):  # of the last machine: the ridge, as a deployed second opinion
        made = known.calibrated(logits[chosen], described[0][chosen], described[1][chosen], test.labels[chosen])
        mixed[~chosen] = made.mixed(softmax(logits[~chosen]), opinion[~chosen]).argmax(1)
    return found, float((mixed == test.labels).mean())


def evaluate(head: Head, test: Corpus, options: TrainOptions) -> tuple[float, SegmentReport | None]:
    """Accuracy on a corpus, and the segmentation measures of a head that scores each step."""
    if not head.per_step:
        return float((predict(head, test, options).argmax(-1) == test.labels).mean()), None
    truths, logits = zip(*predict_steps(head, test, options), strict=True)
    report = SegmentReport.of([t.tolist() for t in truths], [one.argmax(-1).tolist() for one in logits])
    return report.accuracy / 100, report


def _deploy(fitted: Fitted, data: Split, trials: list[Trial], kind: HeadKind, out: Path, deployment: Deployment,
            cpu_s: float, curve: tuple[str, Plot] | None) -> Outcome:  # fmt: skip
    """Exports and verifies a head; writes its plots and report.json, figures with their conditions."""
    head, options, test, typicality = fitted.head, fitted.options, data.test, None
    logits, truth = predict(head, test, options), test.labels
    predicted, shares = logits.argmax(-1), softmax(logits)
    if not head.per_step:  # what tells clips that are unlike the training's, calibrated on held-out scenes
        solve, mixtures = SOLVERS.get(kind), ALONE if kind in SOLVERS else MIXTURES
        known = Typicality.fit(*training_windows(head, data.train, options), len(test.names), solve)
        described = describe(head, test, options)
        typicality = known.calibrated(logits, *described, truth, mixtures)
        shares = typicality.mixed(shares, typicality.opinion(*described))
        predicted = shares.argmax(1) if kind in SOLVERS else predicted
    recipe = export_head(head, out, f"actions-{kind}", options, deployment, typicality)
    parity = check_parity(head, out, test, options, shares)
    if head.per_step:
        truth, scored = map(np.concatenate, zip(*predict_steps(head, test, options), strict=True))
        predicted = scored.argmax(-1)
    report = ClassReport.of(truth, predicted, len(test.names), test.names)
    found = _evaluation(fitted, report, trials[0], test, predicted)
    notes, plots = [*found.notes], {**found.plots, **epochs_plot(fitted)}
    if typicality is not None:
        mixed = float((shares.argmax(1) == truth).mean())
        notes.append(f"accuracy with the second opinion, on the clips that chose its weight: {mixed:.1%}")
        write_scores(out / "scores.npz", test, shares, typicality(logits, *described), deployment.trained)
    if curve:
        notes.append(curve[0])
        plots["Errors by clips"] = curve[1]
    found = dataclasses.replace(found, notes=notes, plots=plots)
    what, measured = f"{deployment.summary}, split {trials[0].split}", found.figures()
    write_atomic(out / "report.html", page(found, measured, what))
    outcome = Outcome(tuple(trials), recipe, parity, report, cpu_s, measured["accuracy"])
    figures = {"head": kind, "classes": list(test.names), "rows_a_step": step_of(test, options),
               "options": dataclasses.asdict(options),
               "trials": [dataclasses.asdict(t) | {"segments": t.segments and t.segments._asdict()} for t in trials],
               **{name: outcome.interval_of(name)._asdict() for name in ("accuracy", "baseline")},
               "compared": {name: value._asdict() for name, value in outcome.compared.items()},
               "parity": dataclasses.asdict(parity), "training_cpu_s": cpu_s}  # fmt: skip
    write_atomic(out / "report.json", json.dumps(figures, indent=1) + "\n")
    return outcome


def training_windows(head: Head, corpus: Corpus, options: TrainOptions) -> tuple[Array, Array, Array]:
    """What typicality is fitted to, its valid steps and classes; skeletons also as a pose model would find them."""
    parts = [corpus]
    if layout := corpus.layout:
        rng = np.random.default_rng(options.seed)
        spoiled = (dataclasses.replace(e, raw=as_estimated(e.raw, layout, rng)) for e in corpus.examples)
        parts.append(dataclasses.replace(corpus, examples=tuple(spoiled)))
    windows, valid = zip(*(describe(head, part, options) for part in parts), strict=True)
    return np.concatenate(windows), np.concatenate(valid), np.tile(corpus.labels, len(parts))


def describe(head: Head, corpus: Corpus, options: TrainOptions) -> tuple[Array, Array]:
    """What typicality looks at, and which steps are valid."""
    features, valid, _ = windows_of(corpus, options)
    with torch.no_grad():
        parts = [head.describe(part).numpy() for part in features.split(64)]
    return np.concatenate(parts), valid.numpy()


def _evaluation(fitted: Fitted, report: ClassReport, trial: Trial, test: Corpus, predicted: Array) -> Evaluation:
    """The figures of a training on held-out data, and images of the most confused pairs."""
    notes = [f"held-out accuracy of a linear baseline: {trial.baseline:.1%}", _course_of(fitted)]
    if fitted.head.per_step:
        tables, plots = class_views(report)
        figures = {"accuracy": trial.accuracy}
        return Evaluation("training", ["all"], "split", lambda _: figures, tables=tables, plots=plots, notes=notes)
    pairs = list(zip(test.labels.tolist(), predicted.tolist(), strict=True))
    about = [(e.name, e.group) for e in test.examples]
    found = of_scored(Scored(report, 0, None, [([true], [made]) for true, made in pairs], about), notes)
    images = {}
    for (true, made), count in Counter(pair for pair in pairs if pair[0] != pair[1]).most_common(PAIRS):
        names = [e.name for e, pair in zip(test.examples, pairs, strict=True) if pair == (true, made)]
        shown = [(Path(name).name, read_image(Path(name))) for name in names[:EACH]]
        images[f"{test.names[true]}, recognized as {test.names[made]}: {count}"] = [
            Thumb(name, thumbnail(image, SIDE)) for name, image in shown if image is not None]  # fmt: skip
    return dataclasses.replace(found, task="training", images=images)


def write_scores(path: Path, test: Corpus, shares: Array, typicality: Array, trained: Sequence[str]) -> None:
    """The probabilities of the held-out clips, for `edgevid tune`, and which of them training had a copy of."""
    names, seen = np.array(test.names), [not marks_of(one).isdisjoint(trained) for one in test.examples]
    with atomic_path(path) as new:
        np.savez(new, values=shares, labels=names[test.labels], tracks=np.array([e.name for e in test.examples]),
                 names=names, typicality=typicality[:, 0], trained=seen)  # fmt: skip


def epochs_plot(fitted: Fitted) -> dict[str, Plot]:
    """Losses and accuracy by epoch; nothing of validation where there was no data for it."""
    kinds = ("train_loss", "validation_loss", "validation_accuracy")
    lines = {kind.replace("_", " "): [getattr(one, kind) for one in fitted.history] for kind in kinds}
    epochs = np.arange(1, len(fitted.history) + 1)
    known = {name: (epochs, values) for name, values in lines.items() if np.isfinite(values).all()}
    return {f"By epoch; the one kept is {fitted.best_epoch + 1}": Plot("epoch", "loss; share correct", known)}

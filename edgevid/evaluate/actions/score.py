"""How good a deployed recognizer is on labeled data, asked the way a live stream asks. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevid.actions.load import load_recognizer
from edgevid.actions.recognizer import Recognizer
from edgevid.errors import InputError
from edgevid.evaluate.actions.augment import resample
from edgevid.evaluate.actions.data import Corpus, check, list_videos, read_skeletons, stitch
from edgevid.evaluate.actions.features import look_through
from edgevid.evaluate.actions.metrics import ClassReport, SegmentReport
from edgevid.evaluate.actions.replay import answer_crops, follow_rows, load_on_rows
from edgevid.types import Array

Spoil = Callable[[Array, int], Array]
"""Spoils rows or crops of one example; the number is its own."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one pass over labeled data."""

    report: ClassReport
    """Over the clips that were answered."""
    silent: int
    """Clips of which nothing was said."""
    segments: SegmentReport | None = None

    @property
    def coverage(self) -> float:
        """Share of clips that were answered."""
        total = int(self.report.confusion.sum()) + self.silent
        return 1 - self.silent / total if total else 0.0

    @property
    def accuracy_of_all(self) -> float:
        """Accuracy where silence counts as a mistake."""
        return self.report.accuracy * self.coverage


def same_names(model: tuple[str, ...], data: tuple[str, ...]) -> None:
    """InputError unless every class of the data is one of the model's."""
    other = sorted(set(data) - set(model))
    if other:
        raise InputError(
            f"the data has classes {other} that the head was not trained for; it knows {list(model)}"
        )


def judge_rows(model: str | Path, corpus: Corpus, *, spoil: Spoil | None = None) -> Judged:
    """Of a temporal head on a corpus of rows (skeletons): the last answer of each clip counts."""
    check(corpus, what="test")
    recognizer = load_on_rows(model, corpus, threads=1)
    same_names(recognizer.names, corpus.names)
    place = [recognizer.names.index(n) for n in corpus.names]
    step = corpus.rate_hz / recognizer.spec.rate_hz
    truth, said, paths = [], [], []
    for number, example in enumerate(corpus.examples):
        rows = example.raw if spoil is None else spoil(example.raw, number)
        answers = follow_rows(recognizer, number + 1, resample(rows, step))
        last = next((a for a in answers[::-1] if a is not None), None)
        at = np.linspace(0, len(example.labels) - 1, len(answers)).round().astype(int)
        spoken = [
            (place[example.labels[i]], int(a.argmax()))
            for i, a in zip(at, answers, strict=True)
            if a is not None
        ]
        paths.append(([t for t, _ in spoken], [s for _, s in spoken]))
        if last is not None:
            truth.append(place[example.label])
            said.append(int(last.argmax()))
    whole = all((e.labels == e.labels[0]).all() for e in corpus.examples)
    segments = None if whole else SegmentReport.of([t for t, _ in paths], [s for _, s in paths])
    if segments is not None:
        truth, said = [t for p, _ in paths for t in p], [s for _, p in paths for s in p]
    silent = 0 if segments is not None else len(corpus) - len(said)
    return Judged(
        ClassReport.of(np.array(truth), np.array(said), len(recognizer.names), recognizer.names),
        silent,
        segments,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """The crops of labeled videos, looked through once."""

    crops: list[Array]
    boxes: list[Array]
    labels: list[int]


def see_videos(recognizer: Recognizer, data: Path) -> Seen:
    """Cuts every labeled video as the recognizer wants it."""
    names, videos = list_videos(data)
    same_names(recognizer.names, names)
    spec = dataclasses.replace(recognizer.spec, steps=1, min_steps=1, stride_s=0.0)
    seen = [look_through(v.path, spec) for v in videos]
    return Seen([c for c, _ in seen], [b for _, b in seen], [recognizer.names.index(v.label) for v in videos])


def judge_crops(recognizer: Recognizer, seen: Seen, *, spoil: Spoil | None = None) -> Judged:
    """Of any recognizer on videos: the mean of all it said of a video counts."""
    truth, said = [], []
    recognizer.reset()
    for number, (crops, boxes, label) in enumerate(zip(seen.crops, seen.boxes, seen.labels, strict=True)):
        shown = crops if spoil is None or not len(crops) else spoil(crops, number)
        answer = answer_crops(recognizer, shown, boxes, number + 1)
        if answer is not None:
            truth.append(label)
            said.append(int(answer.argmax()))
    names = recognizer.names
    return Judged(
        ClassReport.of(np.array(truth), np.array(said), len(names), names), len(seen.labels) - len(said)
    )


def rows_of(data: Path, names: tuple[str, ...], *, stitched: int = 0) -> Corpus | None:
    """The skeletons of a file, or of the held-out halves in a folder; None where the data is videos."""
    files = [data] if data.suffix == ".npz" else sorted(data.glob("*_test_*.npz")) if data.is_dir() else []
    if not files:
        return None
    corpus = read_skeletons(files[0], names)
    return stitch(corpus, 2 * len(corpus) // stitched, seed=0, length=stitched) if stitched else corpus


def judge(model: str | Path, data: Path, names: tuple[str, ...], *, stitched: int = 0) -> Judged:
    """A deployed model on skeletons or labeled videos."""
    corpus = rows_of(data, names, stitched=stitched)
    if corpus is not None:
        return judge_rows(model, corpus)
    recognizer = load_recognizer(model)
    return judge_crops(recognizer, see_videos(recognizer, data))

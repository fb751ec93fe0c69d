"""Accuracy of a deployed recognizer on labeled data, which it receives like a live stream. Needs no torch."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from edgevid.actions.load import load_recognizer
from edgevid.actions.recognizer import Recognizer
from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, check, concatenate, list_videos, read_skeletons, resample
from edgevid.evaluate.actions.metrics import ClassReport, SegmentReport
from edgevid.evaluate.actions.replay import crop_video, load_for_rows, replay_crops, replay_rows
from edgevid.models.hub import resolve_model
from edgevid.types import Array

Corruption = Callable[[Array, int], Array]  # Corrupts rows or crops of one example, given its number as a seed


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of one pass over labeled data."""

    report: ClassReport
    """Over the clips with an emitted class."""
    abstained: int
    """Clips without one."""
    segments: SegmentReport | None = None

    @property
    def coverage(self) -> float:
        """Share of clips with an emitted class."""
        total = int(self.report.confusion.sum()) + self.abstained
        return 1 - self.abstained / total if total else 0.0

    @property
    def accuracy_of_all(self) -> float:
        """Accuracy where abstentions count as errors."""
        return self.report.accuracy * self.coverage


def check_classes(model: tuple[str, ...], data: tuple[str, ...]) -> None:
    """InputError unless every class of the data is one of the model's."""
    other = sorted(set(data) - set(model))
    if other:
        raise InputError(f"data: expected classes of the model, {list(model)}, got also {other}")


def evaluate_rows(model: str | Path, corpus: Corpus, *, corrupt: Corruption | None = None) -> Evaluation:
    """Of a temporal head on a corpus of rows (skeletons): the last scores of each clip count.

    Where the steps of an example have different labels, every scored step counts.
    """
    check(corpus, what="test")
    recognizer = load_for_rows(model, corpus, threads=1)
    names = recognizer.names
    check_classes(names, corpus.names)
    class_of = [names.index(n) for n in corpus.names]
    step = corpus.rate_hz / recognizer.spec.rate_hz
    truths, predictions = [], []
    for number, example in enumerate(corpus.examples):
        rows = example.raw if corrupt is None else corrupt(example.raw, number)
        replayed = replay_rows(recognizer, number + 1, resample(rows, step))
        at = np.linspace(0, len(example.labels) - 1, len(replayed)).round().astype(int)
        scored = [(i, int(v.argmax())) for i, v in zip(at, replayed, strict=True) if v is not None]
        truths.append([class_of[example.labels[i]] for i, _ in scored])
        predictions.append([predicted for _, predicted in scored])
    if all((e.labels == e.labels[0]).all() for e in corpus.examples):
        last = [(t[-1], p[-1]) for t, p in zip(truths, predictions, strict=True) if p]
        abstained = len(corpus) - len(last)
        return Evaluation(_report([t for t, _ in last], [p for _, p in last], names), abstained)
    report = _report(list(chain(*truths)), list(chain(*predictions)), names)
    return Evaluation(report, 0, SegmentReport.of(truths, predictions))


def _report(truth: list[int], predicted: list[int], names: tuple[str, ...]) -> ClassReport:
    return ClassReport.of(np.array(truth), np.array(predicted), len(names), names)


def crop_videos(recognizer: Recognizer, data: Path) -> list[tuple[Array, Array, int]]:
    """(crops, rectangles, class index) of every labeled video, cropped for the recognizer."""
    names, videos = list_videos(data)
    check_classes(recognizer.names, names)
    spec = dataclasses.replace(recognizer.spec, steps=1, min_steps=1, stride_s=0.0)
    return [(*crop_video(v.path, spec), recognizer.names.index(v.label)) for v in videos]


def evaluate_crops(
    recognizer: Recognizer, videos: list[tuple[Array, Array, int]], *, corrupt: Corruption | None = None
) -> Evaluation:
    """Of any recognizer on videos: the mean of all scores of a video counts."""
    truth, predicted = [], []
    recognizer.reset()
    for number, (crops, boxes, label) in enumerate(videos):
        shown = crops if corrupt is None or not len(crops) else corrupt(crops, number)
        scores = replay_crops(recognizer, shown, boxes, number + 1)
        if scores is not None:
            truth.append(label)
            predicted.append(int(scores.argmax()))
    return Evaluation(_report(truth, predicted, recognizer.names), len(videos) - len(predicted))


def read_rows(data: Path, names: tuple[str, ...], *, clips_per_sequence: int = 0) -> Corpus | None:
    """The skeletons of a file, or of the held-out parts in a folder; None where the data is videos."""
    files = [data] if data.suffix == ".npz" else sorted(data.glob("*_test_*.npz")) if data.is_dir() else []
    if not files:
        return None
    corpus = read_skeletons(files[0], names)
    if not clips_per_sequence:
        return corpus
    return concatenate(corpus, 2 * len(corpus) // clips_per_sequence, seed=0, length=clips_per_sequence)


def evaluate(model: str | Path, data: Path, *, clips_per_sequence: int = 0) -> Evaluation:
    """Of a deployed model on skeletons or labeled videos."""
    corpus = read_rows(data, resolve_model(model).names, clips_per_sequence=clips_per_sequence)
    if corpus is not None:
        return evaluate_rows(model, corpus)
    recognizer = load_recognizer(model)
    return evaluate_crops(recognizer, crop_videos(recognizer, data))

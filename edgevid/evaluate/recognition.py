"""Quality of a deployed recognizer on labeled clips and long videos, which it receives like a live stream."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.abstain.policy import Policy
from edgevid.actions import Recognizer, SequenceRecognizer, load_recognizer
from edgevid.actions.features import LAGS, layout_of
from edgevid.errors import InputError
from edgevid.evaluate.actions import extract
from edgevid.evaluate.actions.data import (
    Corpus,
    Example,
    LabeledVideo,
    check,
    list_videos,
    marks_of,
    read_poses,
    read_skeletons,
    resample,
)
from edgevid.evaluate.actions.metrics import OVERLAPS, ClassReport, SegmentReport, report_lines, segment_counts
from edgevid.evaluate.evaluation import Evaluation, Plot, Table, shown, trained_notes
from edgevid.files.atomic import atomic_path
from edgevid.models.hub import resolve_model
from edgevid.runtime import Recipe, load_engine
from edgevid.types import Array, Clips, Reason, Scores, Tracks


class RowsExtractor:
    """An extractor for rows that were extracted before."""

    steps = 0

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.raw_width, self.width = int(corpus.examples[0].raw.shape[1]), corpus.width
        self.memory = 1 + max(LAGS) if corpus.layout else 1

    def extract(self, crops: Array, boxes: Array) -> Array:
        """InputError: the rows were extracted before, `recognize_rows` takes them."""
        raise InputError("RowsExtractor: expected rows for recognize_rows, got crops")

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """Like the corpus."""
        return self._corpus.encode(raw, valid)


def load_for_rows(model: str | Path, corpus: Corpus, *, threads: int | None = None) -> SequenceRecognizer:
    """The temporal head of a recipe, for rows that were extracted before."""
    recipe = resolve_model(model)
    return SequenceRecognizer(RowsExtractor(corpus), load_engine(recipe, device="cpu", threads=threads), recipe)


def replay_rows(recognizer: SequenceRecognizer, id_: int, rows: Array) -> list[Array | None]:
    """The scores (C,) at each moment of rows replayed as a live track; None where there are none."""
    return [scores.values[0] if len(scores) else None for scores in row_scores(recognizer, id_, rows)]


def row_scores(recognizer: SequenceRecognizer, id_: int, rows: Array) -> Iterator[Scores]:
    """The scores at each moment of rows replayed as a live track; after the last one those that a look-ahead lags."""
    head, rate = recognizer.head, recognizer.spec.rate_hz
    rows = np.concatenate((rows, np.repeat(rows[-1:], head.lookahead, axis=0)))
    recognizer.store.forget(np.array([id_]))
    # A window graph scores every `stride` moments: skip moments so that it scores the last one.
    wait = head.min_steps + (len(rows) - head.min_steps) % head.stride if head.kind == "window" else 0
    for moment, row in enumerate(rows):
        yield recognizer.recognize_rows(
            np.array([id_]), np.array([moment / rate]), row[None], answer=moment + 1 >= min(wait, len(rows))
        )


def replay_crops(recognizer: Recognizer, crops: Array, boxes: Array, id_: int) -> Array | None:
    """Mean probabilities (C,) of a whole video's crops (L, h, w, 3); None without scores."""
    values = [row for scores in crop_scores(recognizer, crops, boxes, id_) for row in scores.values]
    return np.mean(values, axis=0) if values else None


def crop_scores(recognizer: Recognizer, crops: Array, boxes: Array, id_: int) -> Iterator[Scores]:
    """The scores of a whole video's crops (L, h, w, 3), one after another."""
    steps = recognizer.spec.steps
    every = max(steps // 2, 1) if recognizer.spec.stride_s else 1  # a head takes each moment
    for moment in range(len(crops)):
        if moment == len(crops) - 1 or (moment + 1) % every == 0:
            expected = np.arange(moment - steps + 1, moment + 1)
            held, rows = expected >= 0, np.maximum(expected, 0)
            pixels, shown = crops[rows], boxes[rows].astype(np.float32)
            pixels[~held], shown[~held] = 0, 0
            times = np.where(held, expected / recognizer.spec.rate_hz, np.nan)
            yield recognizer.recognize(Clips(np.array([id_]), pixels[None], times[None], shown[None]))


def decided(policy: Policy, found: Iterable[Scores], id_: int) -> list[int]:
    """The class that a policy emits after these scores of one track; none where it abstains."""
    track = Tracks.of(ids=[id_], boxes=[[0, 0, 1e6, 1e6]], scores=[1], labels=[0], match=[0], age=[0], unseen=[0])
    verdicts = [policy.update(scores, track, float(scores.times.max(initial=0))) for scores in found]
    return verdicts[-1].labels[verdicts[-1].reason == Reason.OK].tolist() if verdicts else []


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one pass over labeled data."""

    report: ClassReport  # Over the clips with an emitted class
    abstained: int  # Clips without one
    segments: SegmentReport | None = None
    outcomes: Sequence[tuple[list[int], list[int]]] = ()
    """True and emitted classes of the steps of each clip, one of a clip as a whole; none where it abstained."""
    names: Sequence[tuple[str, str]] = ()  # Name and scene of each clip
    scores: Sequence[Sequence[Scores]] = ()  # Of each clip as a whole
    notes: Sequence[str] = ()  # On clips that were trained on


def check_classes(model: tuple[str, ...], data: tuple[str, ...]) -> None:
    """InputError unless every class of the data is one of the model's."""
    other = sorted(set(data) - set(model))
    if other:
        raise InputError(f"data: expected classes of the model, {list(model)}, got also {other}")


def evaluate_rows(model: str | Path, corpus: Corpus) -> Scored:
    """Of a temporal head on a corpus of rows (skeletons): the last scores of each clip count. Where the steps
    of an example have different labels, every scored step counts."""
    check(corpus, what="test")
    recognizer = load_for_rows(model, corpus, threads=1)
    names = recognizer.names
    check_classes(names, corpus.names)
    class_of = [names.index(n) for n in corpus.names]
    step = corpus.rate_hz / recognizer.spec.rate_hz
    truths, predictions, scores = [], [], []
    for number, example in enumerate(corpus.examples):
        found = [one for one in row_scores(recognizer, number + 1, resample(example.raw, step)) if len(one)]
        scores.append(found)
        at = np.round([one.times[0] * corpus.rate_hz for one in found]).astype(int)
        truths.append([class_of[label] for label in example.labels[np.clip(at, 0, len(example.labels) - 1)]])
        predictions.append([int(one.values[0].argmax()) for one in found])
    if all((e.labels == e.labels[0]).all() for e in corpus.examples):
        clips = zip(corpus.examples, predictions, strict=True)
        return _scored([([class_of[e.label]], p[-1:]) for e, p in clips], names, scores)
    report = ClassReport.of(list(chain(*truths)), list(chain(*predictions)), len(names), names)
    return Scored(report, 0, SegmentReport.of(truths, predictions), [*zip(truths, predictions, strict=True)])


def _scored(outcomes: list[tuple[list[int], list[int]]], names: tuple[str, ...],
            scores: Sequence[Sequence[Scores]]) -> Scored:  # fmt: skip
    emitted = [(t[0], p[0]) for t, p in outcomes if p]
    report = ClassReport.of([t for t, _ in emitted], [p for _, p in emitted], len(names), names)
    return Scored(report, len(outcomes) - len(emitted), None, outcomes, scores=scores)


def crop_videos(recognizer: Recognizer, videos: Sequence[LabeledVideo]) -> list[tuple[Array, Array, int]]:
    """(crops, rectangles, class index) of every labeled video, cropped for the recognizer."""
    spec = dataclasses.replace(recognizer.spec, steps=1, min_steps=1, stride_s=0.0)
    return [(*extract.crop_video(v.path, spec), recognizer.names.index(v.label)) for v in videos]


def evaluate_crops(recognizer: Recognizer, videos: list[tuple[Array, Array, int]]) -> Scored:
    """Of any recognizer on videos: the mean of all scores of a video counts."""
    recognizer.reset()
    scores = [[one for one in crop_scores(recognizer, crops, boxes, number) if len(one)]
              for number, (crops, boxes, _) in enumerate(videos, 1)]  # fmt: skip
    best = [[int(np.concatenate([one.values for one in some]).mean(0).argmax())] if some else [] for some in scores]
    return _scored([([label], b) for (*_, label), b in zip(videos, best, strict=True)], recognizer.names, scores)


def read_rows(data: Path, recipe: Recipe, rate_hz: float = extract.FEATURES_HZ) -> Corpus | None:
    """The skeletons of a file or of the held-out part in a folder, or features of long videos; None for videos."""
    if extract.is_features(data):
        return extract.read_features(data, rate_hz)
    layout, files = layout_of(recipe), sorted(data.glob("*_test_*.npz")) if data.is_dir() else []
    return read_skeletons(files[0], recipe.names, layout) if files else read_poses(data, layout)


def untrained(model: str | Path, given: Sequence[Example | LabeledVideo], data: Path) -> tuple[list[int], list[str]]:
    """The rows of clips that a model was not trained on, and the notes on the others; InputError where none remains."""
    known = hashes_of(model)
    seen = np.array([bool(known) and not marks_of(one).isdisjoint(known) for one in given], bool)
    notes = trained_notes(seen if known else None, str(data), "clips", "[trained] of the recipe")
    return np.flatnonzero(~seen).tolist(), notes


def hashes_of(model: str | Path) -> set[str]:
    """What a model was trained on, by `marks_of`; empty where its recipe does not state it."""
    return set(resolve_model(model).tables.get("trained", {}).get("hashes", ()))


def score(model: str | Path, data: Path, *, feature_rate: float = extract.FEATURES_HZ) -> Scored:
    """Of a deployed model on rows (skeletons, features at `feature_rate` Hz) or videos that it was not trained on."""
    corpus = read_rows(data, resolve_model(model), feature_rate)
    if corpus is None and (listed := extract.list_long_videos(data)):
        recognizer = load_recognizer(model)
        if not isinstance(recognizer, SequenceRecognizer):
            raise InputError(f"{model}: expected the recipe of a temporal head for videos with segments")
        corpus = extract.read_long_videos(*listed, recognizer.extractor, recognizer.spec)
    given: Sequence[Example | LabeledVideo] = list_videos(data)[1] if corpus is None else corpus.examples
    chosen, notes = untrained(model, given, data)
    names = [(given[n].name, given[n].group) for n in chosen]
    if corpus is None:
        recognizer = load_recognizer(model)
        check_classes(recognizer.names, tuple(one.label for one in given))  # type: ignore[misc]
        scored = evaluate_crops(recognizer, crop_videos(recognizer, [given[n] for n in chosen]))  # type: ignore[misc]
    else:
        scored = evaluate_rows(model, corpus.pick(chosen))
    return dataclasses.replace(scored, names=names, notes=notes)


def evaluate(model: str, truth: Path, *, feature_rate: float = extract.FEATURES_HZ,
             scores: Path | None = None) -> Evaluation:  # fmt: skip
    """A deployed model on labeled clips that it was not trained on; a group is a scene. `scores` is written: an NPZ of
    all scores of these clips, which states that none was trained on (docs/abstain.md). InputError where it was trained
    on all of them, or where the classes are others."""
    scored = score(model, truth, feature_rate=feature_rate)
    if scores is not None:
        write_scores(scores, scored, states=bool(hashes_of(model)))
    if scored.segments is not None:
        truths, made = zip(*scored.outcomes, strict=True)
        return _segments([name for name, _ in scored.names], truths, made, scored.notes, classes=scored.report.names)
    return of_scored(scored, scored.notes)


def write_scores(path: Path, scored: Scored, *, states: bool) -> None:
    """A table of all scores of clips for `edgevid tune policy` and `evaluate abstain`; `states` that the model was
    trained on none of them. InputError without scores of whole clips."""
    clips = zip(scored.names, scored.outcomes, scored.scores, strict=True) if scored.scores else ()
    rows = [(name, true[0], one) for (name, _), (true, _), found in clips for one in found if len(one)]
    if not rows:
        raise InputError(f"{path}: expected clips with one label and a score each, got none")
    tracks, labels, found = zip(*rows, strict=True)
    names, typicality = np.array(scored.report.names), np.concatenate([one.typicality for one in found])
    more: dict[str, Any] = {"typicality": typicality[:, 0]} if typicality.size else {}
    more |= {"trained": np.zeros(len(rows), bool)} if states else {}
    with atomic_path(path) as new:
        np.savez(new, values=np.concatenate([one.values for one in found]), labels=names[[*labels]], names=names,
                 tracks=np.array(tracks), times=np.concatenate([one.times for one in found]), **more)  # fmt: skip


def of_scored(scored: Scored, notes: Sequence[str] = ()) -> Evaluation:
    """The quality of scored clips; a group is a scene."""
    groups, classes = list(dict.fromkeys(group for _, group in scored.names)), len(scored.report.names)
    cells = np.zeros((len(groups), classes * classes + 1))  # of each group its confusion, and its abstentions
    for (_, group), (true, found) in zip(scored.names, scored.outcomes, strict=True):
        cells[groups.index(group), true[-1] * classes + found[-1] if found else -1] += 1

    def measure(counts: Array) -> dict[str, float]:
        confusion, abstained = ClassReport((counts @ cells[:, :-1]).reshape(classes, classes)), counts @ cells[:, -1]
        emitted, some = float(confusion.confusion.sum()), confusion.support > 0
        f1 = float(confusion.f1[some].mean()) if emitted else math.nan
        return {"accuracy": confusion.accuracy if emitted else math.nan, "macro F1": f1,
                "coverage": emitted / max(emitted + float(abstained), 1)}  # fmt: skip

    tables, plots = class_views(scored.report)
    notes = [*notes, f"chance is {shown(1 / classes)}"]
    return Evaluation("actions", groups, "scene", measure, tables=tables, plots=plots, notes=notes)


def class_views(report: ClassReport) -> tuple[dict[str, Table], dict[str, Plot]]:
    """The tables of classes and of the pairs confused most, and the confusion matrix in shares of its rows."""
    heads = ("class", "precision %", "recall %", "F1 %", "clips")
    share = report.confusion / np.maximum(report.confusion.sum(1, keepdims=True), 1)
    tables = {"By class": Table(heads, report_lines(report))}
    if confused := report.confused():
        tables["Confused pairs"] = Table(("class", "recognized as", "times", "of the class %"), confused)
    return tables, {"Confusion": Plot("", "", {}, share, report.names)}


def evaluate_segments(results: Path, truth: Path, *, background: Sequence[str] = (),
                      feature_rate: float = extract.FEATURES_HZ) -> Evaluation:  # fmt: skip
    """Labels of every step of long videos, by the definitions of MS-TCN (Farha and Gall 2019); a group is a video. Two
    folders of text files of the same names, a label a line (or all in a line after one that begins with #); or a
    recipe, and data for it. InputError for other names, labels or lengths."""
    if not results.is_dir() or (results / "recipe.toml").is_file():
        return evaluate(str(results), truth, feature_rate=feature_rate)
    found, known = read_labels(results), read_labels(truth)
    if missing := sorted(known.keys() - found.keys()) or not known:
        raise InputError(f"{results}: expected {len(known)} files *.txt as in {truth}, got none of {missing}")
    if other := sorted({n for v in found.values() for n in v} - {n for v in known.values() for n in v}):
        raise InputError(f"{results}: expected labels of the truth, got also {', '.join(other[:8])}")
    for name, labels in known.items():
        if len(labels) != len(found[name]):
            raise InputError(f"{name}: expected {len(labels)} labels as in {truth}, got {len(found[name])}")
    return _segments(list(known), [*known.values()], [found[name] for name in known], [], background)


def read_labels(folder: Path) -> dict[str, list[str]]:
    """By name of a file its labels, one a step; InputError for what is no text."""
    try:
        texts = {path.stem: path.read_text(encoding="utf-8-sig") for path in sorted(folder.glob("*.txt"))}
    except UnicodeDecodeError as error:
        raise InputError(f"{folder}: expected text files with a label a line, got {error}") from None
    return {name: " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
            for name, text in texts.items()}  # fmt: skip


def _segments(
    names: list[str], truths: Sequence[Any], found: Sequence[Any], notes: Sequence[str], background: Sequence[str] = (),
    classes: Sequence[str] | None = None,
) -> Evaluation:  # fmt: skip
    table = np.array([segment_counts(*pair, background) for pair in zip(truths, found, strict=True)], float)

    def measure(counts: Array) -> dict[str, float]:
        shares = SegmentReport.of_counts(counts @ table, int(counts.sum()))
        names = ("accuracy", "edit", *(f"F1@{k}" for k in OVERLAPS))
        return {name: share / 100 for name, share in zip(names, shares, strict=True)}

    notes = [*notes, f"edit and F1 leave out {', '.join(background) or 'no class'}"]
    labels = sorted({*chain(*truths), *chain(*found)})
    true, made = ([labels.index(one) for one in chain(*side)] for side in (truths, found))
    known = [str(one) if classes is None else classes[one] for one in labels]
    tables, plots = class_views(ClassReport.of(true, made, len(labels), known))
    return Evaluation("segmentation", names, "video", measure, tables=tables, plots=plots, notes=notes)

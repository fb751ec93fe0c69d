"""Accuracy of a deployed recognizer on labeled data, which it receives like a live stream. Needs no torch."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from edgevid._opencv import cv2
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.load import load_recognizer
from edgevid.actions.recognizer import Recognizer
from edgevid.actions.sequence import SequenceRecognizer
from edgevid.errors import InputError
from edgevid.evaluate.actions.data import (
    Corpus,
    Example,
    LabeledVideo,
    check,
    concatenate,
    list_videos,
    read_skeletons,
    resample,
)
from edgevid.evaluate.actions.metrics import ClassReport, SegmentReport
from edgevid.models.hub import resolve_model
from edgevid.runtime import load_engine
from edgevid.types import Array, Clips, Frame, Tracks
from edgevid.video.images import resize_area
from edgevid.video.open import open_video

Corruption = Callable[[Array, int], Array]  # Corrupts rows or crops of one example, given its number as a seed
IMAGE_CORRUPTIONS: Mapping[str, tuple[float, ...]] = {
    "JPEG quality": (100, 95, 75, 50, 30, 20, 10), "blur, sigma px": (0, 1, 2, 3, 5),
    "noise, sigma of 255": (0, 5, 10, 20, 40), "scale": (1, 0.75, 0.5, 0.33, 0.25),
}  # fmt: skip
"""Corruptions of images with their strengths; the first changes nothing."""
POSE_CORRUPTIONS: Mapping[str, tuple[float, ...]] = {
    "joint noise, % of body size": (0, 2, 5, 10, 20),
    "joints lost, %": (0, 5, 10, 20, 40),
    "moments lost, %": (0, 10, 25, 50, 75),
}
"""Corruptions of skeletons with their strengths."""

Table = dict[str, list[tuple[float, float]]]


def crop_video(path: Path, spec: ClipSpec) -> tuple[Array, Array]:
    """(L, h, w, 3) crops of a whole video, one per moment, and their rectangles (L, 4)."""
    crops, boxes = [], []
    for clips in _clips(path, spec):
        crops.append(clips.pixels[0, -1].copy())
        boxes.append(clips.boxes[0, -1].copy())
    if not crops:
        return np.zeros((0, spec.height, spec.width, 3), np.uint8), np.zeros((0, 4), np.float32)
    return np.stack(crops), np.stack(boxes)


def _clips(path: Path, spec: ClipSpec) -> Iterator[Clips]:
    whole = dataclasses.replace(spec, context=1.0, min_side=1.0, region=(0.0, 0.0, 1.0, 1.0))
    buffer = ClipBuffer(whole, capacity=1)
    with open_video(path) as video:
        for frame in video:
            clips = buffer.update(frame, whole_frame(frame))
            if len(clips):
                yield clips


def whole_frame(frame: Frame) -> Tracks:
    """One object that fills the frame: labeled clips show one acting person."""
    box = [0, 0, frame.width, frame.height]
    return Tracks.of(ids=[1], boxes=[box], scores=[1], labels=[0], match=[0], age=[0], unseen=[0])


class RowsExtractor:
    """An extractor for rows that were extracted before."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.raw_width, self.width = int(corpus.examples[0].raw.shape[1]), corpus.width
        self.memory = 3 if corpus.joints else 1

    def extract(self, crops: Array, boxes: Array) -> Array:
        """InputError: the rows were extracted before, `recognize_rows` takes them."""
        raise InputError("RowsExtractor: expected rows for recognize_rows, got crops")

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """Like the corpus."""
        return self._corpus.encode(raw, valid)


def load_for_rows(model: str | Path, corpus: Corpus, *, threads: int | None = None) -> SequenceRecognizer:
    """The temporal head of a recipe, for rows that were extracted before."""
    recipe = resolve_model(model)
    engine = load_engine(recipe, device="cpu", threads=threads)
    return SequenceRecognizer(RowsExtractor(corpus), engine, recipe)


def replay_rows(recognizer: SequenceRecognizer, id_: int, rows: Array) -> list[Array | None]:
    """The scores (C,) at each moment of rows replayed as a live track; None where there are none."""
    head, rate = recognizer.head, recognizer.spec.rate_hz
    recognizer.store.forget(np.array([id_]))
    # A window graph scores every `stride` moments: skip moments so that it scores the last one.
    wait = head.min_steps + (len(rows) - head.min_steps) % head.stride if head.kind == "window" else 0
    replayed: list[Array | None] = []
    for moment, row in enumerate(rows):
        scores = recognizer.recognize_rows(
            np.array([id_]), np.array([moment / rate]), row[None], answer=moment + 1 >= min(wait, len(rows))
        )
        replayed.append(scores.values[0] if len(scores) else None)
    return replayed


def replay_crops(recognizer: Recognizer, crops: Array, boxes: Array, id_: int) -> Array | None:
    """Mean probabilities (C,) of a whole video's crops (L, h, w, 3); None without scores."""
    rate, steps = recognizer.spec.rate_hz, recognizer.spec.steps
    values: list[Array] = []
    for moment in range(len(crops)):
        if steps > 1 and moment != len(crops) - 1 and (moment + 1) % max(steps // 2, 1):
            continue
        values += list(recognizer.recognize(_window(crops, boxes, moment, steps, rate, id_)).values)
    return np.mean(values, axis=0) if values else None


def _window(crops: Array, boxes: Array, moment: int, steps: int, rate_hz: float, id_: int) -> Clips:
    expected = np.arange(moment - steps + 1, moment + 1)
    held = expected >= 0
    pixels, shown = crops[np.maximum(expected, 0)].copy(), boxes[np.maximum(expected, 0)].copy()
    pixels[~held], shown[~held] = 0, 0
    times = np.where(held, expected / rate_hz, np.nan)
    return Clips(np.array([id_]), pixels[None], times[None], shown[None].astype(np.float32))


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one pass over labeled data."""

    report: ClassReport
    """Over the clips with an emitted class."""
    abstained: int
    """Clips without one."""
    segments: SegmentReport | None = None
    outcomes: Sequence[tuple[list[int], list[int]]] = ()
    """True and emitted classes of the steps of each clip, one of a clip as a whole; none where it abstained."""
    names: Sequence[tuple[str, str]] = ()
    """Name and scene of each clip."""
    left_out: int = 0
    """Clips that were not to be scored."""

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


def evaluate_rows(model: str | Path, corpus: Corpus, *, corrupt: Corruption | None = None) -> Scored:
    """Of a temporal head on a corpus of rows (skeletons): the last scores of each clip count. Where the steps
    of an example have different labels, every scored step counts."""
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
        clips = zip(corpus.examples, predictions, strict=True)
        return _scored([([class_of[e.label]], p[-1:]) for e, p in clips], names)
    report = _report(list(chain(*truths)), list(chain(*predictions)), names)
    return Scored(report, 0, SegmentReport.of(truths, predictions), [*zip(truths, predictions, strict=True)])


def _report(truth: list[int], predicted: list[int], names: tuple[str, ...]) -> ClassReport:
    return ClassReport.of(np.array(truth), np.array(predicted), len(names), names)


def _scored(outcomes: list[tuple[list[int], list[int]]], names: tuple[str, ...]) -> Scored:
    emitted = [(t[0], p[0]) for t, p in outcomes if p]
    report = _report([t for t, _ in emitted], [p for _, p in emitted], names)
    return Scored(report, len(outcomes) - len(emitted), None, outcomes)


def crop_videos(recognizer: Recognizer, videos: Sequence[LabeledVideo]) -> list[tuple[Array, Array, int]]:
    """(crops, rectangles, class index) of every labeled video, cropped for the recognizer."""
    spec = dataclasses.replace(recognizer.spec, steps=1, min_steps=1, stride_s=0.0)
    return [(*crop_video(v.path, spec), recognizer.names.index(v.label)) for v in videos]


def evaluate_crops(
    recognizer: Recognizer, videos: list[tuple[Array, Array, int]], *, corrupt: Corruption | None = None
) -> Scored:
    """Of any recognizer on videos: the mean of all scores of a video counts."""
    outcomes: list[tuple[list[int], list[int]]] = []
    recognizer.reset()
    for number, (crops, boxes, label) in enumerate(videos):
        shown = crops if corrupt is None or not len(crops) else corrupt(crops, number)
        scores = replay_crops(recognizer, shown, boxes, number + 1)
        outcomes.append(([label], [] if scores is None else [int(scores.argmax())]))
    return _scored(outcomes, recognizer.names)


def read_rows(data: Path, names: tuple[str, ...]) -> Corpus | None:
    """The skeletons of a file, or of the held-out parts in a folder; None where the data is videos."""
    files = [data] if data.suffix == ".npz" else sorted(data.glob("*_test_*.npz")) if data.is_dir() else []
    return read_skeletons(files[0], names) if files else None


def score(
    model: str | Path, data: Path, *, clips_per_sequence: int = 0,
    keep: Callable[[Example | LabeledVideo], bool] = lambda one: True,
) -> Scored:  # fmt: skip
    """Of a deployed model on the skeletons or labeled videos that are to be kept."""
    corpus = read_rows(data, resolve_model(model).names)
    given: Sequence[Example | LabeledVideo] = list_videos(data)[1] if corpus is None else corpus.examples
    chosen = [n for n, one in enumerate(given) if keep(one)]
    left_out, names = len(given) - len(chosen), [(given[n].name, given[n].group) for n in chosen]
    if not chosen:
        scored = _scored([], resolve_model(model).names)
    elif corpus is None:
        recognizer = load_recognizer(model)
        check_classes(recognizer.names, tuple(one.label for one in given))  # type: ignore[misc]
        scored = evaluate_crops(recognizer, crop_videos(recognizer, [given[n] for n in chosen]))  # type: ignore[misc]
    else:
        corpus = corpus.pick(chosen)
        if clips_per_sequence:
            corpus = concatenate(corpus, 2 * len(corpus) // clips_per_sequence, seed=0, length=clips_per_sequence)
            names = [(one.name, one.group) for one in corpus.examples]
        scored = evaluate_rows(model, corpus)
    return dataclasses.replace(scored, names=names, left_out=left_out)


def corrupt_images(crops: Array, seed: int, kind: str, strength: float) -> Array:
    """(T, h, w, 3) uint8 crops after one corruption; JPEG by the real codec."""
    if kind not in IMAGE_CORRUPTIONS:
        raise InputError(f"corruption: expected one of {', '.join(IMAGE_CORRUPTIONS)}, got {kind!r}")
    if strength == IMAGE_CORRUPTIONS[kind][0]:
        return crops
    if kind == "JPEG quality":
        coded = [cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(strength)])[1] for crop in crops]
        return np.stack([np.asarray(cv2.imdecode(one, cv2.IMREAD_COLOR))[..., ::-1] for one in coded])
    if kind.startswith("blur"):
        side = 2 * int(3 * strength) + 1
        return np.stack([cv2.GaussianBlur(crop, (side, side), strength) for crop in crops])
    if kind.startswith("noise"):
        noisy = crops + np.random.default_rng(seed).normal(0, strength, crops.shape)
        return noisy.round().clip(0, 255).astype(np.uint8)
    height, width = crops.shape[1:3]
    small = (max(round(width * strength), 1), max(round(height * strength), 1))
    return np.stack([cv2.resize(resize_area(crop, small), (width, height)) for crop in crops])


def corrupt_poses(rows: Array, seed: int, kind: str, strength: float) -> Array:
    """Rows (T, 2 J + 1) after one corruption; lost joints keep their last position, lost moments score 0."""
    if kind not in POSE_CORRUPTIONS:
        raise InputError(f"corruption: expected one of {', '.join(POSE_CORRUPTIONS)}, got {kind!r}")
    rng = np.random.default_rng(seed)
    out = rows.copy()
    points = out[:, :-1].reshape(len(rows), -1, 2)
    if kind.startswith("joint noise"):
        size = np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(-1).mean())
        points += rng.normal(0, size * strength / 100, points.shape)
    elif kind.startswith("joints lost"):
        lost = rng.random(points.shape[:2]) < strength / 100
        for t in range(1, len(points)):
            points[t][lost[t]] = points[t - 1][lost[t]]
    else:
        out[rng.random(len(out)) < strength / 100, -1] = 0
    return out


def measure(model: str | Path, data: Path, *, report: Callable[[str], None] = lambda line: None) -> Table:
    """Accuracy (abstentions count as errors) by corruption and strength."""
    corpus = read_rows(data, resolve_model(model).names)
    corrupt: Callable[..., Array]
    evaluate: Callable[..., Scored]
    if corpus is not None:
        corruptions, corrupt = POSE_CORRUPTIONS, corrupt_poses
        evaluate = partial(evaluate_rows, model, corpus)
    else:
        recognizer = load_recognizer(model)
        corruptions, corrupt = IMAGE_CORRUPTIONS, corrupt_images
        evaluate = partial(evaluate_crops, recognizer, crop_videos(recognizer, list_videos(data)[1]))
    table: Table = {kind: [] for kind in corruptions}
    for kind, strengths in corruptions.items():
        for strength in strengths:
            accuracy = evaluate(corrupt=partial(corrupt, kind=kind, strength=strength)).accuracy_of_all
            table[kind].append((strength, accuracy))
            report(f"{kind} {strength:g}: {100 * accuracy:.1f} %")
    return table

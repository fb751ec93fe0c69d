"""Recorded data as a live stream: videos cropped by the ClipBuffer, crops and rows replayed."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.recognizer import Recognizer
from edgevid.actions.sequence import SequenceRecognizer
from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus
from edgevid.models.hub import resolve_model
from edgevid.runtime import load_engine
from edgevid.types import Array, Clips, Frame, Tracks
from edgevid.video.open import open_video


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

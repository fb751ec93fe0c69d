"""Deployed recognizers fed with recorded data, exactly as a live stream feeds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgevid.actions.recognizer import Recognizer
from edgevid.actions.sequence import SequenceRecognizer
from edgevid.actions.skeleton import encode_rows
from edgevid.evaluate.actions.data import Corpus
from edgevid.models.hub import resolve_model
from edgevid.runtime import load_engine
from edgevid.types import Array, Clips


class RowsExtractor:
    """Stands where an extractor stands, for rows that were extracted before."""

    def __init__(self, corpus: Corpus) -> None:
        self._joints = bool(corpus.joints)
        self.raw_width, self.width = int(corpus.examples[0].raw.shape[1]), corpus.width
        self.memory = 3 if self._joints else 1

    def look(self, crops: Array, boxes: Array) -> Array:
        """Never asked: rows come by `follow`."""
        raise NotImplementedError

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """As the corpus encodes."""
        if self._joints:
            return encode_rows(raw, valid)
        return np.where(valid[..., None], raw, 0).astype(np.float32), valid


def load_on_rows(model: str | Path, corpus: Corpus, *, threads: int | None = None) -> SequenceRecognizer:
    """The temporal head of a recipe, fed with rows that were extracted before."""
    recipe = resolve_model(model)
    engine = load_engine(recipe, device="cpu", threads=threads)
    return SequenceRecognizer(RowsExtractor(corpus), engine, recipe)


def follow_rows(recognizer: SequenceRecognizer, id_: int, rows: Array) -> list[Array | None]:
    """What is said (C,) at each moment of rows that come as a live track; None where it is silent."""
    head, rate = recognizer.head, recognizer.spec.rate_hz
    recognizer.store.forget(np.array([id_]))
    # A whole-window graph answers every `stride` moments: keep it silent until the phase in which it
    # answers the last one.
    wait = head.min_steps + (len(rows) - head.min_steps) % head.stride if head.kind == "window" else 0
    answers: list[Array | None] = []
    for moment, row in enumerate(rows):
        said = recognizer.follow(
            np.array([id_]), np.array([moment / rate]), row[None], ask=moment + 1 >= min(wait, len(rows))
        )
        answers.append(said.values[0] if len(said) else None)
    return answers


def answer_crops(recognizer: Recognizer, crops: Array, boxes: Array, id_: int) -> Array | None:
    """Mean probabilities (C,) of a whole video's crops (L, h, w, 3); None where nothing was said."""
    rate, steps = recognizer.spec.rate_hz, recognizer.spec.steps
    said = []
    for moment in range(len(crops)):
        if steps > 1 and moment != len(crops) - 1 and (moment + 1) % max(steps // 2, 1):
            continue
        scores = recognizer.recognize(_window(crops, boxes, moment, steps, rate, id_))
        said += list(scores.values)
    return np.mean(said, axis=0) if said else None


def _window(crops: Array, boxes: Array, moment: int, steps: int, rate_hz: float, id_: int) -> Clips:
    expected = np.arange(moment - steps + 1, moment + 1)
    held = expected >= 0
    pixels, shown = crops[np.maximum(expected, 0)].copy(), boxes[np.maximum(expected, 0)].copy()
    pixels[~held], shown[~held] = 0, 0
    times = np.where(held, expected / rate_hz, np.nan)
    return Clips(np.array([id_]), pixels[None], times[None], shown[None].astype(np.float32))

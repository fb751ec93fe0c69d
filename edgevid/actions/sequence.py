"""Temporal heads over features of every crop: windows of a Transformer, or a causal head with states."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge

from edgevid.actions.clip import StateTable, Stepper, extract_newest
from edgevid.actions.clip_spec import ClipSection
from edgevid.actions.features import DetectedPose, Extractor
from edgevid.actions.recognizer import first_output, newest_crops, newest_keypoints, no_scores, probabilities, run_batch
from edgevid.actions.track_state import RESET_AFTER_S, OverlapMean, StateStore
from edgevid.actions.typicality import Typicality
from edgevid.errors import FieldError, InputError, ModelError
from edgevid.files.fields import Count
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Clips, Scores

EMPTY = np.iinfo(np.int64).min // 2


@dataclass(frozen=True, kw_only=True)
class HeadSection(StateTable):
    """A recipe's table [head]: the inputs and the schedule of a temporal head."""

    kind: Literal["window", "step"]  # "window": features (B, T, D) and mask (B, T) at once; "step": one step and states
    extractor: str = ""  # Recipe of the feature or pose model, relative to this one, or a model's name
    flow: str = ""  # "hof", or the recipe of a network of optical flow, whose features come after the extractor's
    features: Count  # D that the head was trained on
    window: Count = 32  # T, in moments of the clip's rate
    stride: Count = 16  # Moments between two windows of a track
    min_steps: Count = 4  # Moments that must be observed before the first score
    per_step: bool = False  # Whether a window scores each of its steps, (B, T, C)
    lookahead: Annotated[int, Ge(0)] = 0  # Moments by which scores lag: they are of the moment so many before
    clip_digest: str = ""  # Digest of the clip spec that the head was trained with
    typicality: str = ""  # File of what tells clips that are unlike the training's, relative to this recipe

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride > self.window:
            expected = f"at most window={self.window}, so that no moment is skipped"
            raise FieldError("head", "stride", expected, self.stride)

    @classmethod
    def read(cls, recipe: Recipe) -> HeadSection:
        """From the recipe's [head]; FileFormatError names each mistake."""
        if recipe.task != "head":
            raise InputError(f"{recipe.name}: expected a recipe of task 'head', got {recipe.task!r}")
        return recipe.section("head", cls)


class SequenceRecognizer:
    """Extracts one crop of each track per moment; a temporal head scores the sequence."""

    def __init__(self, extractor: Extractor, engine: Engine, recipe: Recipe, *, average: bool = True) -> None:
        """`average` averages overlapping windows."""
        self.extractor, self.engine, self.recipe, self.names = extractor, engine, recipe, recipe.names
        self.head = HeadSection.read(recipe)
        table = ClipSection.read(recipe)
        self.spec = dataclasses.replace(table.spec(1), stride_s=0.0)
        self._activation, self._lag_s = table.activation, self.head.lookahead / self.spec.rate_hz
        self._check()
        self.spec = dataclasses.replace(self.spec, steps=max(extractor.steps, 1))
        self._output = first_output(engine, recipe)
        stepping = self.head.kind == "step"
        self._typicality = None
        if self.head.typicality:
            path = recipe.path.parent / self.head.typicality
            self._typicality = Typicality.read(path, features=self.head.features, classes=len(self.names))
        length = extractor.memory if stepping and not self._typicality else max(extractor.memory, self.head.window)
        shapes: dict[str, tuple[int, ...]] = {"raw": (length, extractor.raw_width), "moment": (length,), "count": (),
                                              "scored": ()}  # fmt: skip
        whole = {n: np.dtype(np.int64) for n in ("moment", "count", "scored")}
        gap = RESET_AFTER_S if stepping else length / self.spec.rate_hz
        self.store = StateStore(shapes, reset_after_s=gap, dtypes=whole)
        self._stepper = Stepper(engine, self.head, recipe.name) if stepping else None
        span = self.head.window / self.spec.rate_hz
        averaged = average and not stepping and not self.head.per_step
        self._mean = OverlapMean(len(self.names), span_s=span) if averaged else None

    def _check(self) -> None:
        if self.extractor.width != self.head.features:
            raise ModelError(f"{self.recipe.name}: the head was trained on {self.head.features} features, its "
                             f"extractor has {self.extractor.width}: use the extractor of its recipe")  # fmt: skip
        if self.head.clip_digest and self.head.clip_digest != self.spec.digest:
            raise ModelError(f"{self.recipe.name}: table [clip] was changed since training (digest {self.spec.digest}, "
                             f"trained with {self.head.clip_digest}): crops would differ from those of the "
                             "training")  # fmt: skip
        expected = {"features", *(("valid",) if self.head.kind == "window" else self.head.states)}
        have = {s.name for s in self.engine.inputs}
        if expected != have:
            what = f"the inputs {sorted(expected)} of a {self.head.kind!r} head"
            raise ModelError(f"{self.recipe.name}: expected {what}, the model has {sorted(have)}")

    def recognize(self, clips: Clips) -> Scores:
        """Probabilities of the objects whose window is due (every moment for a streaming head)."""
        if not len(clips):
            return no_scores(self.names)
        points = newest_keypoints(clips)
        if points is not None and type(self.extractor) is DetectedPose:
            times, raw = newest_crops(clips)[1], self.extractor.rows(points)
        else:
            times, raw = extract_newest(self.extractor, clips)
        return self.recognize_rows(clips.ids, times, raw)

    def recognize_rows(self, ids: Array, times: Array, raw: Array, *, answer: bool = True) -> Scores:
        """The same from rows (M, R) of tracks at `times` (M,); without `answer` a window head only stores them."""
        rows, fresh = self.store.rows(ids, times)
        moments = np.round(times * self.spec.rate_hz).astype(np.int64)
        length = self.store["raw"].shape[1]
        self.store["moment"][rows[fresh]] = EMPTY
        self.store["scored"][rows[fresh]] = EMPTY
        cell = moments % length
        self.store["raw"][rows, cell], self.store["moment"][rows, cell] = raw, moments
        self.store["count"][rows] += 1
        expected = moments[:, None] - np.arange(length - 1, -1, -1)
        cells = expected % length
        valid = self.store["moment"][rows[:, None], cells] == expected
        features, valid = self.extractor.encode(self.store["raw"][rows[:, None], cells], valid)
        features, valid = features[:, -self.head.window :], valid[:, -self.head.window :]
        now = valid[:, -1]
        if self._stepper is None:
            now &= (valid.sum(axis=1) >= self.head.min_steps) & answer
            now &= moments - self.store["scored"][rows] >= self.head.stride
        if not now.any():
            return no_scores(self.names)
        self.store["scored"][rows[now]] = moments[now]
        return self._scores(ids[now], times[now], rows[now], features[now], valid[now])

    def _scores(self, ids: Array, times: Array, rows: Array, features: Array, valid: Array) -> Scores:
        """Of the tracks whose step or window is due."""
        if self._stepper is not None:
            logits = self._stepper.run(ids, times, {"features": np.ascontiguousarray(features[:, -1])})[self._output]
        else:
            logits = run_batch(self.engine, {"features": features, "valid": valid})[self._output]
            logits = logits[:, -1] if self.head.per_step else logits
        values = probabilities(logits, self._activation, self.names, self.recipe.name)
        made = Scores.of(ids=ids, values=values, times=times - self._lag_s)
        if self._typicality is not None:
            made = self._typicality.assess(made, logits, features, valid)
        if self._mean is not None:
            made = dataclasses.replace(made, values=self._mean.update(ids, made.values, times))
        early = self.store["count"][rows] < max(self.head.min_steps, 1 + self.head.lookahead)
        return made[~early] if self._stepper is not None else made

    def reset(self) -> None:
        """Forgets every track."""
        self.store.reset()
        if self._stepper is not None:
            self._stepper.store.reset()
        if self._mean is not None:
            self._mean.reset()


class Segment(NamedTuple):
    """One activity of one object, [start, end) in seconds."""

    id: int
    label: int
    start: float
    end: float


class OnlineSegments:
    """Stable labels of every object, and its segments as they end."""

    def __init__(self, *, confident: float = 0.9, min_s: float = 0.5, forget_after_s: float = 5.0) -> None:
        """`confident` is the probability that changes a label at once, `min_s` how long a segment must have lasted to
        be ended by less; an object without scores for `forget_after_s` is ended."""
        if not 0 <= confident <= 1 or not min_s >= 0:
            raise InputError(f"OnlineSegments: expected confident 0 to 1 and min_s >= 0, got {confident}, {min_s}")
        self.confident, self.min_s, self.forget_after_s = confident, min_s, forget_after_s
        self._open: dict[int, Segment] = {}

    def update(self, scores: Scores) -> tuple[Array, list[Segment]]:
        """(M,) int32 stable label of each row, and the segments that ended now."""
        labels = np.empty(len(scores), np.int32)
        ended: list[Segment] = []
        for row, (id_, values, time, *_) in enumerate(scores):
            best = int(values.argmax())
            held = self._open.get(id_, Segment(id_, best, time, time))
            if best != held.label and (values[best] >= self.confident or time - held.start >= self.min_s):
                ended.append(held._replace(end=time))
                held = Segment(id_, best, time, time)
            self._open[id_] = held._replace(end=time)
            labels[row] = held.label
        now = float(scores.times.max(initial=-np.inf))
        old = [one.id for one in self._open.values() if now - one.end > self.forget_after_s]
        return labels, ended + [self._open.pop(id_) for id_ in old]

    def finish(self) -> list[Segment]:
        """Ends every open segment, at its last observation."""
        ended = [*self._open.values()]
        self._open.clear()
        return ended

    def reset(self) -> None:
        """Forgets every object."""
        self._open.clear()

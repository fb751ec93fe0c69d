"""Detector: frames in, boxes in frame pixels out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgevid import kernels
from edgevid.detect.decode import Decoder
from edgevid.detect.preprocess import LetterboxTransform, Preprocessor, input_shape, place
from edgevid.errors import InputError, ModelError, did_you_mean
from edgevid.runtime import Engine, Recipe, TensorSpec, load_engine
from edgevid.runtime.engine import AcceptsFrames
from edgevid.types import Array, Detections, Frame

SAME_OBJECT = 0.8
"""Overlap from which boxes of different classes are taken for one object."""
MAX_DETECTIONS = 300
"""Boxes kept of one frame, best first."""


class Detector:
    """Finds objects in frames with the model of a recipe."""

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        *,
        score: float | None = None,
        nms_iou: float | None = None,
        classes: Iterable[str | int] | None = None,
        limit: int = MAX_DETECTIONS,
    ) -> None:
        """`score` (least confidence) and `nms_iou` (overlap for suppression) override the recipe's;
        `classes` keeps only these names or labels, `limit` is the most boxes of a frame.

        Raises ModelError where the engine's inputs or outputs are not what the recipe says.
        """
        if recipe.task != "detect" or recipe.decode is None or recipe.input is None:
            raise InputError(f"{recipe.name}: expected a recipe of task 'detect', got {recipe.task!r}")
        for name, value in (("score", score), ("nms_iou", nms_iou)):
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {value}")
        self.engine, self.recipe, self.limit = engine, recipe, limit
        self.score = recipe.decode.score if score is None else score
        self.names = recipe.names
        self.nms_iou = recipe.decode.nms_iou if nms_iou is None else nms_iou
        self._kept_labels = _labels(recipe, classes)
        self._picture = _picture_input(engine, recipe)
        self._others = _other_inputs(engine, recipe, self._picture)
        self._decode = Decoder(recipe, engine.outputs)
        self._prepare = Preprocessor(recipe.input, max(self._picture.shape[0], 1))
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        model: Recipe | str | Path | None = None,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        score: float | None = None,
        nms_iou: float | None = None,
        classes: Iterable[str | int] | None = None,
    ) -> Detector:
        """The detector of a model's name, an ONNX file, a recipe or its file or folder; None: the default.

        Named models are downloaded once and verified (`edgevid models` lists them).
        """
        from edgevid.models.hub import resolve_model

        recipe = model if isinstance(model, Recipe) else resolve_model(model)
        engine = load_engine(recipe, device=device, precision=precision, threads=threads)
        return cls(engine, recipe, score=score, nms_iou=nms_iou, classes=classes)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One table a frame; frames go through the model together as far as its batch allows.

        Threads may share a detector: they take turns, as its buffers and its engine's are used again.
        """
        size = self._picture.shape[0]
        step = max(len(frames), 1) if size < 0 else size
        found: list[Detections] = []
        for start in range(0, len(frames), step):
            found += self._batch(frames[start : start + step], step)
        return found

    def reset(self) -> None:
        """Nothing is remembered between frames."""

    def feed(
        self, frames: Sequence[Frame], size: int | None = None
    ) -> tuple[dict[str, Array], list[LetterboxTransform]]:
        """What the engine is given for these frames, valid until the next call, and each one's Fit.

        `size` is the batch (the model's own, or as many as there are frames, unless given).
        """
        size = size or (self._picture.shape[0] if self._picture.shape[0] > 0 else max(len(frames), 1))
        if size > self._prepare.batch:
            self._prepare = Preprocessor(self._prepare.spec, size)
        _, fits = self._prepare(frames)
        pictures = self._prepare.buffer[:size]  # a fixed batch goes in whole, old rows and all
        others = {name: np.repeat(row[None], size, axis=0) for name, row in self._others.items()}
        return {self._picture.name: pictures, **others}, fits

    def _batch(self, frames: Sequence[Frame], size: int) -> list[Detections]:
        with self._lock:
            outputs, fits = self._run(frames, size)
            return [self._read(outputs, row, fit) for row, fit in enumerate(fits)]

    def _run(self, frames: Sequence[Frame], size: int) -> tuple[dict[str, Array], list[LetterboxTransform]]:
        """The engine's answer, and each frame's Fit; an engine that letterboxes on its device does so."""
        if frames and isinstance(self.engine, AcceptsFrames):
            spec, count = self._prepare.spec, self._picture.shape[0] if self._picture.shape[0] > 0 else size
            others = {name: np.repeat(row[None], count, axis=0) for name, row in self._others.items()}
            spots = [place(frame.size, spec) for frame in frames]
            outputs = self.engine.run_frames(frames, spots, spec, name=self._picture.name, others=others)
            return outputs, [LetterboxTransform.of(frame.size, spec) for frame in frames]
        inputs, fits = self.feed(frames, size)
        return self.engine.run(inputs), fits

    def _read(self, outputs: dict[str, Array], row: int, fit: LetterboxTransform) -> Detections:
        boxes, scores, labels = self._decode(outputs, row, self.score)
        keep = labels < len(self.names)  # a model may know more classes than its recipe names
        if self._kept_labels is not None:
            keep &= np.isin(labels, self._kept_labels)
        if not keep.all():
            boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        if self.nms_iou is not None:
            rows = kernels.nms(boxes, scores, labels, self.nms_iou, True, self.limit)
            # One object that looks like a car and like a truck is one object: the surer class stays.
            again = kernels.nms(boxes[rows], scores[rows], labels[rows], SAME_OBJECT, False, self.limit)
            rows = rows[again]
        else:
            rows = np.argsort(-scores, kind="stable")[: self.limit]
        boxes = fit.undo(boxes[rows])  # clipped to the frame: what lies in the padding becomes empty
        seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Detections(boxes[seen], scores[rows][seen], labels[rows][seen])


def _labels(recipe: Recipe, classes: Iterable[str | int] | None) -> Array | None:
    """The labels of the wanted classes, None for all."""
    if classes is None:
        return None
    known = {name: label for label, name in enumerate(recipe.names)}
    labels = []
    for expected in [classes] if isinstance(classes, str) else classes:
        if isinstance(expected, str) and expected not in known:
            raise InputError(
                f"classes: {recipe.name} knows no {expected!r}{did_you_mean(expected, known) or '.'} "
                f"It knows: {', '.join(recipe.names)}"
            )
        label = known[expected] if isinstance(expected, str) else int(expected)
        if not 0 <= label < len(recipe.names):
            raise InputError(f"classes: expected a label from 0 to {len(recipe.names) - 1}, got {label}")
        labels.append(label)
    return np.array(labels, np.int32)


def _picture_input(engine: Engine, recipe: Recipe) -> TensorSpec:
    """The engine's input that takes the image, checked against the recipe."""
    by_name = {spec.name: spec for spec in engine.inputs}
    name = recipe.input_name or engine.inputs[0].name
    if name not in by_name:
        raise ModelError(
            f"{recipe.name}: the recipe wants an input {name!r}, the model has {sorted(by_name)}"
        )
    assert recipe.input is not None
    spec, expected = by_name[name], input_shape(recipe.input)
    fits = len(spec.shape) == 4 and all(s in (-1, n) for s, n in zip(spec.shape[1:], expected, strict=True))
    if not fits or spec.dtype != np.dtype(recipe.input.dtype):
        raise ModelError(
            f"{recipe.name}: the recipe gives {recipe.input.dtype} images of shape {expected}, "
            f"the model's input is {spec}"
        )
    return spec


def _other_inputs(engine: Engine, recipe: Recipe, picture: TensorSpec) -> dict[str, Array]:
    """One row of each further input: sizes, stated so that boxes come in pixels of the model's input."""
    assert recipe.input is not None
    width, height = recipe.input.width, recipe.input.height
    known = {
        "orig_target_sizes": (width, height),  # RT-DETR, D-FINE
        "im_shape": (height, width),  # PaddleDetection
        "scale_factor": (1, 1),
    }
    rows: dict[str, Array] = {}
    for spec in engine.inputs:
        if spec.name == picture.name:
            continue
        if spec.name not in known:
            raise ModelError(
                f"{recipe.name}: the model wants a further input {spec}, which is none of {', '.join(known)}"
            )
        rows[spec.name] = np.array(known[spec.name], spec.dtype)
    return rows

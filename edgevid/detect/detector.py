"""Detector: frames in, boxes in frame pixels out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgevid import kernels
from edgevid.detect.decode import Decoder
from edgevid.detect.preprocess import LetterboxTransform, Preprocessor, letterbox_rectangle
from edgevid.errors import InputError, ModelError, did_you_mean
from edgevid.models.hub import resolve_model
from edgevid.runtime.engine import AcceptsFrames, Engine, TensorSpec
from edgevid.runtime.letterbox import input_shape
from edgevid.runtime.load import load_engine
from edgevid.runtime.recipe import DetectorRecipe, LocalRecipe, Precision, Recipe
from edgevid.types import Array, Detections, Frame

SAME_OBJECT_IOU = 0.8
"""IoU above which boxes of different classes are taken for one object."""
MAX_DETECTIONS = 300
"""Boxes kept of one frame, best first."""


class Detector:
    """Finds objects in frames with the model of a recipe."""

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        *,
        score_threshold: float | None = None,
        nms_iou: float | None = None,
        classes: Iterable[str | int] | None = None,
        max_detections: int = MAX_DETECTIONS,
    ) -> None:
        """`score_threshold` (0 to 1) and `nms_iou` (IoU above which the lower-scoring box is suppressed)
        override the recipe's; `classes` keeps only these names or labels.

        Raises InputError for a recipe of another task, values out of range and unknown classes, ModelError
        where the engine's inputs or outputs do not fit the recipe.
        """
        for name, value in (("score_threshold", score_threshold), ("nms_iou", nms_iou)):
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {value}")
        self.engine, self.recipe, self.max_detections = engine, DetectorRecipe.of(recipe), max_detections
        decode = self.recipe.decode
        self.score_threshold = decode.score_threshold if score_threshold is None else score_threshold
        self.names = recipe.names
        self.nms_iou = decode.nms_iou if nms_iou is None else nms_iou
        self._kept_labels = _labels(recipe, classes)
        self._image_input = _image_input(engine, self.recipe)
        self._extra_inputs = _extra_inputs(engine, self.recipe, self._image_input)
        self._decode = Decoder(self.recipe, engine.outputs)
        self._preprocessor = Preprocessor(self.recipe.input, max(self._image_input.shape[0], 1))
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        model: LocalRecipe | str | Path | None = None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        score_threshold: float | None = None,
        nms_iou: float | None = None,
        classes: Iterable[str | int] | None = None,
    ) -> Detector:
        """The detector of a model's name, an ONNX file, a recipe or its file or folder; None: the default.

        Named models are downloaded once and verified (`edgevid models list` shows them). `device`,
        `precision` and `threads` are those of `load_engine`, whose errors it raises too.
        """
        recipe = model if isinstance(model, Recipe) else resolve_model(model)
        engine = load_engine(recipe, device=device, precision=precision, threads=threads)
        return cls(engine, recipe, score_threshold=score_threshold, nms_iou=nms_iou, classes=classes)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One table per frame, boxes in its pixels; frames share a run of the model up to its batch size.

        Threads may share a detector: they take turns, as its buffers and its engine's are reused.
        """
        size = self._image_input.shape[0]
        step = max(len(frames), 1) if size < 0 else size
        found: list[Detections] = []
        for start in range(0, len(frames), step):
            with self._lock:
                outputs, transforms = self._run(frames[start : start + step], step)
                found += [self._read(outputs, row, transform) for row, transform in enumerate(transforms)]
        return found

    def reset(self) -> None:
        """Nothing is remembered between frames."""

    def preprocess(
        self, frames: Sequence[Frame], size: int | None = None
    ) -> tuple[dict[str, Array], list[LetterboxTransform]]:
        """The engine's inputs for these frames, valid until the next call, and each frame's transform.

        `size` is the batch size; None: the model's own, or the number of frames where that is dynamic.
        """
        fixed = self._image_input.shape[0]
        size = size or (fixed if fixed > 0 else max(len(frames), 1))
        if size > self._preprocessor.batch:
            self._preprocessor = Preprocessor(self._preprocessor.spec, size)
        _, transforms = self._preprocessor(frames)
        images = self._preprocessor.buffer[:size]  # a fixed batch goes in whole, with old rows
        return {self._image_input.name: images, **self._extra(size)}, transforms

    def _extra(self, size: int) -> dict[str, Array]:
        """The extra inputs for a batch of this size."""
        return {name: np.repeat(row[None], size, axis=0) for name, row in self._extra_inputs.items()}

    def _run(self, frames: Sequence[Frame], size: int) -> tuple[dict[str, Array], list[LetterboxTransform]]:
        """The engine's outputs, and each frame's transform; some engines preprocess frames themselves."""
        if frames and isinstance(self.engine, AcceptsFrames):
            spec, fixed = self.recipe.input, self._image_input.shape[0]
            outputs = self.engine.run_frames(
                frames,
                [letterbox_rectangle(frame.size, spec) for frame in frames],
                spec,
                name=self._image_input.name,
                extra_inputs=self._extra(fixed if fixed > 0 else size),
            )
            return outputs, [LetterboxTransform.of(frame.size, spec) for frame in frames]
        inputs, transforms = self.preprocess(frames, size)
        return self.engine.run(inputs), transforms

    def _read(self, outputs: dict[str, Array], row: int, transform: LetterboxTransform) -> Detections:
        boxes, scores, labels = self._decode(outputs, row, self.score_threshold)
        keep = labels < len(self.names)  # a model may have more classes than its recipe names
        if self._kept_labels is not None:
            keep &= np.isin(labels, self._kept_labels)
        if not keep.all():
            boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        rows = self._suppress(boxes, scores, labels)
        boxes = transform.inverse(boxes[rows])  # clipped to the frame: boxes in the padding become empty
        valid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Detections(boxes[valid], scores[rows][valid], labels[rows][valid])

    def _suppress(self, boxes: Array, scores: Array, labels: Array) -> Array:
        """Rows that stay, best first."""
        most = self.max_detections
        if self.nms_iou is None:
            best: Array = np.argsort(-scores, kind="stable")[:most]
            return best
        rows = kernels.nms(boxes, scores, labels, self.nms_iou, True, most)
        # What looks like a car and like a truck is one object: the class with the better score stays.
        again = kernels.nms(boxes[rows], scores[rows], labels[rows], SAME_OBJECT_IOU, False, most)
        kept: Array = rows[again]
        return kept


def _labels(recipe: Recipe, classes: Iterable[str | int] | None) -> Array | None:
    """The labels of the classes to keep, None for all."""
    if classes is None:
        return None
    known = {name: label for label, name in enumerate(recipe.names)}
    labels = []
    for one in [classes] if isinstance(classes, str) else classes:
        if isinstance(one, str) and one not in known:
            raise InputError(
                f"classes: {recipe.name} has no class {one!r}{did_you_mean(one, known) or '.'} "
                f"It has: {', '.join(recipe.names)}"
            )
        label = known[one] if isinstance(one, str) else int(one)
        if not 0 <= label < len(recipe.names):
            raise InputError(f"classes: expected a label from 0 to {len(recipe.names) - 1}, got {label}")
        labels.append(label)
    return np.array(labels, np.int32)


def _image_input(engine: Engine, recipe: DetectorRecipe) -> TensorSpec:
    """The engine's input for images, checked against the recipe."""
    by_name = {spec.name: spec for spec in engine.inputs}
    name = recipe.input_name or engine.inputs[0].name
    if name not in by_name:
        raise ModelError(f"{recipe.name}: expected an input {name!r} of its recipe, got {sorted(by_name)}")
    spec, expected = by_name[name], input_shape(recipe.input)
    fits = len(spec.shape) == 4 and all(s in (-1, n) for s, n in zip(spec.shape[1:], expected, strict=True))
    if not fits or spec.dtype != np.dtype(recipe.input.dtype):
        raise ModelError(
            f"{recipe.name}: the recipe's input is {recipe.input.dtype} images of shape {expected}, "
            f"the model's is {spec}"
        )
    return spec


def _extra_inputs(engine: Engine, recipe: DetectorRecipe, image: TensorSpec) -> dict[str, Array]:
    """One row of each further input: sizes, so that boxes come in pixels of the model's input."""
    width, height = recipe.input.width, recipe.input.height
    known = {
        "orig_target_sizes": (width, height),  # RT-DETR, D-FINE
        "im_shape": (height, width),  # PaddleDetection
        "scale_factor": (1, 1),
    }
    rows: dict[str, Array] = {}
    for spec in engine.inputs:
        if spec.name == image.name:
            continue
        if spec.name not in known:
            raise ModelError(
                f"{recipe.name}: the model has an extra input {spec}; expected one of {', '.join(known)}"
            )
        rows[spec.name] = np.array(known[spec.name], spec.dtype)
    return rows

"""Detector: frames in, boxes in frame pixels out."""

from __future__ import annotations

import copy
import logging
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from edgevid import kernels
from edgevid.detect.decode import Decoder
from edgevid.detect.instance import keypoints, masks, rotated_nms
from edgevid.detect.predict import frames_of, settings_of
from edgevid.detect.preprocess import LetterboxTransform, Preprocessor, letterbox_rectangle
from edgevid.errors import InputError, ModelError, check_part, did_you_mean, log_once
from edgevid.models.hub import resolve_model
from edgevid.models.signature import size_inputs
from edgevid.runtime import DetectorRecipe, LocalRecipe, Precision, Recipe, load_engine
from edgevid.runtime.engine import AcceptsFrames, Engine, TensorSpec, input_shape
from edgevid.types import Array, Detections, Frame, as_frame
from edgevid.types.peers import Boxes, Hinted

SAME_OBJECT_IOU = 0.8  # IoU above which boxes of different classes are taken for one object
MAX_DETECTIONS = 300  # Boxes kept of one frame, best first
PREDICT_BATCH = 8  # Images that `predict` hands on together


class Detector(Hinted):
    """Finds objects with the model of a recipe: `detector(image)`, or `detector.predict(source)`."""

    def __init__(self, model: Engine | LocalRecipe | str | Path | None = None, recipe: Recipe | None = None, *,
                 device: str | int = "auto", precision: Precision = "fp32", threads: int | None = None,
                 score_threshold: float | None = None, nms_iou: float | None = None,
                 classes: Iterable[str | int] | None = None, max_detections: int = MAX_DETECTIONS,
                 same_object_iou: float | None = SAME_OBJECT_IOU, **peers: Any) -> None:  # fmt: skip
        """`model`: a name, an ONNX file, a recipe or its file or folder; None: the default; or an engine with its
        `recipe`.

        Named models are downloaded once and verified (`edgevid models list` shows them). `device`, `precision` and
        `threads` are those of `load_engine`, whose errors it raises too. `score_threshold` (0 to 1) and `nms_iou` (IoU
        above which the lower-scoring box is suppressed) override the recipe's; `classes` keeps only these names or
        labels. Boxes of different classes that overlap by more than `same_object_iou` are one object; None: they do not
        compete. `peers`: conf, iou, max_det, imgsz and half of Ultralytics.

        Raises InputError for a recipe of another task, values out of range and unknown classes, ModelError where the
        engine's inputs or outputs do not fit the recipe."""
        if peers.pop("half", False):
            precision = "fp16"
        if recipe is None:
            recipe = model if isinstance(model, Recipe) else resolve_model(model)  # type: ignore[arg-type]
            device = f"cuda:{device}" if str(device).isdecimal() else str(device)
            model = load_engine(recipe, device=device, precision=precision, threads=threads)
        check_part(model, Engine, "an engine")
        self.engine: Engine = model  # type: ignore[assignment]
        self.recipe = DetectorRecipe.of(recipe)
        decode = self.recipe.decode
        self.names, self.same_object_iou = recipe.names, same_object_iou
        self.score_threshold, self.nms_iou = decode.score_threshold, decode.nms_iou
        self._kept_labels: Array | None = None
        self._class_thresholds = np.array(decode.class_thresholds, np.float32)
        own = {"score_threshold": score_threshold, "nms_iou": nms_iou, "classes": classes}
        self._set(max_detections=max_detections, **{**own, **settings_of(peers, self.recipe.input)})
        self._image_input = _image_input(self.engine, self.recipe)
        self._extra_inputs = _extra_inputs(self.engine, self.recipe, self._image_input)
        self._decode = Decoder(self.recipe, self.engine.outputs)
        self._preprocessor = Preprocessor(self.recipe.input, max(self._image_input.shape[0], 1))
        self._lock = threading.Lock()
        self._sound = False  # Whether some frame had outputs without NaN

    @classmethod
    def load(cls, model: LocalRecipe | str | Path | None = None, **settings: Any) -> Detector:
        """`Detector(model, ...)`: of a name, a file, a recipe or its folder; None: the default."""
        return cls(model, **settings)

    def __call__(self, image: Any = None, *, source: Any = None, **settings: Any) -> Any:
        """The Detections of one image; a list of them for a list of images. An image is a Frame, a bare array as OpenCV
        reads it (BGR, BGRA or gray, uint8) or a PIL image. `source` is another name of `image`; `settings` hold for
        this call, as in `predict`."""
        image = source if image is None else image
        if isinstance(image, (list, tuple, str, Path, Iterator)):
            return self.predict(image, **settings)
        return _hinted(self._with(settings).detect([as_frame(image)])[0])

    def predict(self, source: Any, *, stream: bool = False, **settings: Any) -> Any:
        """The Detections of each image of `source`, as a list; with `stream` an iterator, for videos.

        `source` is a path, a folder or pattern, a video, a camera or address (see `open_video`), an image as above,
        or an iterable of these. `settings` hold for this call: score_threshold, nms_iou, classes, max_detections, or
        Ultralytics' conf, iou, max_det. SourceError where nothing can be read; InputError for a camera without
        `stream`, as it has no end. The address of an image is one, unless `stream`."""
        found = self._with(settings)._stream(frames_of(source, stream=stream))
        return found if stream else list(found)

    def _stream(self, frames: Iterator[Frame]) -> Iterator[Detections]:
        while batch := list(islice(frames, PREDICT_BATCH)):
            yield from map(_hinted, self.detect(batch))

    def _with(self, settings: dict[str, Any]) -> Detector:
        """This detector with other settings; it shares the engine, its buffers and their lock."""
        if not settings:
            return self
        made = copy.copy(self)
        made._set(**settings_of(settings, self.recipe.input))
        return made

    def _set(self, *, score_threshold: float | None = None, nms_iou: float | None = None,
             classes: Iterable[str | int] | int | None = None, max_detections: int | None = None) -> None:  # fmt: skip
        """Changes what is not None."""
        for name, value in (("score_threshold", score_threshold), ("nms_iou", nms_iou)):
            if value is not None:
                if not (isinstance(value, Real) and 0 <= value <= 1):
                    raise InputError(f"{name}: expected 0 to 1, got {value!r}")
                setattr(self, name, value)
        if score_threshold is not None:
            self._class_thresholds = self._class_thresholds[:0]
        if classes is not None:
            self._kept_labels = _labels(self.recipe, classes)
        if max_detections is not None:
            self.max_detections = max_detections

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One table per frame, boxes in its pixels; frames share a run of the model up to its batch size. Threads may
        share a detector: they take turns, as its buffers and its engine's are reused."""
        frames = [as_frame(one) for one in ([frames] if isinstance(frames, (Frame, np.ndarray)) else frames)]
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

    def preprocess(self, frames: Sequence[Frame],
                   size: int | None = None) -> tuple[dict[str, Array], list[LetterboxTransform]]:  # fmt: skip
        """The engine's inputs for these frames, (size, ...) as the recipe states, valid until the next call, and each
        frame's transform. `size`: the batch; None: the model's own, or the frames' where that is dynamic."""
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
        if isinstance(self.engine, AcceptsFrames):
            spec, name = self.recipe.input, self._image_input.name
            places = [letterbox_rectangle(frame.size, spec) for frame in frames]
            outputs = self.engine.run_frames(frames, places, spec, name=name, extra_inputs=self._extra(size))
            return outputs, [LetterboxTransform.of(frame.size, spec) for frame in frames]
        inputs, transforms = self.preprocess(frames, size)
        return self.engine.run(inputs), transforms

    def _read(self, outputs: dict[str, Array], row: int, transform: LetterboxTransform) -> Detections:
        boxes, scores, labels, extra = self._decode.read(outputs, row, self.score_threshold)
        if not len(boxes):
            self._check_numbers(outputs, row)
        self._sound = True
        keep = labels < len(self.names)  # a model may have more classes than its recipe names
        if not keep.all():
            named = f"the {len(self.names)} classes that its recipe names"
            what = f"{self.recipe.name}: the model gives labels beyond {named}"
            log_once(f"{what}; such boxes are left out: name all classes under [names]", logging.WARNING)
        if len(self._class_thresholds):
            keep &= scores >= self._class_thresholds[np.minimum(labels, len(self._class_thresholds) - 1)]
        if self._kept_labels is not None:
            keep &= np.isin(labels, self._kept_labels)
        if not keep.all():
            boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
            extra = None if extra is None else extra[keep]
        rows = self._suppress(boxes, scores, labels, extra)
        if len(rows) and (best := scores[rows[0]]) > 1.001:
            raise ModelError(f"{self.recipe.name}: decoder {self.recipe.decode.kind!r} reads a score of {best:.3g}; "
                             "expected 0 to 1, so the model's outputs are something else (key points, mask "
                             f"coefficients, logits): correct [decode] of its recipe. {self._try_it()}")  # fmt: skip
        boxes = transform.inverse(boxes[rows])  # clipped to the frame: boxes in the padding become empty
        valid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, scores, labels = boxes[valid], scores[rows][valid], labels[rows][valid]
        if extra is None:
            return Detections(boxes, scores, labels)
        more = self._extra_columns(outputs, row, boxes, extra[rows][valid], transform)
        return Detections(boxes, scores, labels, **more)

    def _extra_columns(self, outputs: dict[str, Array], row: int, boxes: Array, extra: Array,
                       transform: LetterboxTransform) -> dict[str, Array]:  # fmt: skip
        """The further columns of the boxes (N, 4) in frame pixels."""
        how = self.recipe.decode
        if how.masks:
            return {"masks": masks(extra, self._decode.arrays(outputs, row)[1], boxes, transform, self.recipe.input)}
        if how.keypoints:
            return {"keypoints": keypoints(extra, transform, how.keypoint_values)}
        shift = np.array([transform.left, transform.top, 0, 0, 0], np.float32)
        scale = np.array([*(transform.scale_x, transform.scale_y) * 2, 1], np.float32)
        return {"rotated": (extra - shift) / scale}

    def _suppress(self, boxes: Array, scores: Array, labels: Array, extra: Array | None) -> Array:
        """Rows that stay, best first."""
        most = self.max_detections
        if self.nms_iou is None:
            return np.asarray(np.argsort(-scores, kind="stable")[:most])
        nms: Callable[..., Array] = kernels.nms
        if extra is not None and self.recipe.decode.rotated:
            boxes, nms = extra, rotated_nms
        rows = nms(boxes, scores, labels, self.nms_iou, True, most)
        if self.same_object_iou is None:
            return rows
        # What looks like a car and like a truck is one object: the class with the better score stays.
        return np.asarray(rows[nms(boxes[rows], scores[rows], labels[rows], self.same_object_iou, False, most)])

    def _check_numbers(self, outputs: dict[str, Array], row: int) -> None:
        """Names NaN in the outputs of a frame without objects: an error until some frame is sound."""
        if not any(a.size and np.isnan(a.min()) for a in self._decode.arrays(outputs, row)):
            return
        why = "half precision that overflows, input values that it does not expect, or damaged weights"
        remedy = f"Run it in FP32 (--precision fp32, or an export without half precision). {self._try_it()}"
        text = f"{self.recipe.name}: the model gives NaN instead of boxes: {why}. {remedy}"
        if not self._sound:
            raise ModelError(text)
        log_once(text, logging.WARNING)

    def _try_it(self) -> str:
        file = getattr(self.recipe, "local", self.recipe.path.parent / self.recipe.file)
        return f"To look at it: {shlex.join(['edgevid', 'inspect', str(file), '--data'])} VIDEO"


def _hinted(found: Detections) -> Detections:
    """The same, with boxes that answer what users of Ultralytics write next."""
    object.__setattr__(found, "boxes", found.boxes.view(Boxes))
    return found


def _labels(recipe: Recipe, classes: Iterable[str | int] | int) -> Array:
    """The labels of the classes to keep."""
    known = {name: label for label, name in enumerate(recipe.names)}
    labels = []
    for one in [classes] if isinstance(classes, (str, int)) else classes:
        if isinstance(one, str) and one not in known:
            raise InputError(f"classes: {recipe.name} has no class {one!r}{did_you_mean(one, known) or '.'} It has: "
                             f"{', '.join(recipe.names)}")  # fmt: skip
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
        raise ModelError(f"{recipe.name}: the recipe's input is {recipe.input.dtype} images of shape {expected}, the "
                         f"model's is {spec}")  # fmt: skip
    return spec


def _extra_inputs(engine: Engine, recipe: DetectorRecipe, image: TensorSpec) -> dict[str, Array]:
    """One row of each further input: sizes, so that boxes come in pixels of the model's input."""
    known = size_inputs(recipe.input.width, recipe.input.height)
    others = [spec for spec in engine.inputs if spec.name != image.name]
    for spec in others:
        if spec.name not in known:
            raise ModelError(f"{recipe.name}: the model has an extra input {spec}; expected one of {', '.join(known)}; "
                             "make it a constant of the graph")  # fmt: skip
    return {spec.name: np.array(known[spec.name], spec.dtype) for spec in others}

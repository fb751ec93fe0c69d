"""From a detector's named outputs to candidate boxes, by the decoder of its recipe."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgevid import kernels
from edgevid.detect.instance import enclosing
from edgevid.errors import InputError, ModelError
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.recipe import DecoderKind, DetectorRecipe
from edgevid.types import Array

Shape = tuple["int | str", ...]  # Sizes of a tensor; a text names one that may be any
Candidates = tuple[Array, Array, Array]  # (N, 4) boxes xyxy in pixels of the model's input, (N,) scores, (N,) labels


class Decoder:
    """Reads one image's boxes (model pixels), scores and labels out of an engine's outputs."""

    def __init__(self, recipe: DetectorRecipe, outputs: Sequence[TensorSpec]) -> None:
        """ModelError, with what the recipe expects and what the model has, where the outputs do not fit."""
        self.recipe, self.how, self.size = recipe, recipe.decode, recipe.input
        self.outputs, self._classes = _chosen(recipe, outputs), len(recipe.names)
        self._read = _DECODERS[self.how.kind]
        self._check()

    def read(self, outputs: Mapping[str, Array], row: int,
             score_threshold: float) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
        """Candidates of image `row` above a score, and what follows their classes (N, E); None: nothing. Of rotated
        boxes that is the whole (N, 5) center, size and angle, and the boxes enclose them."""
        arrays = self.arrays(outputs, row)
        if self.how.extra:
            return self._with_extra(arrays[0], score_threshold)
        return *self._read(self, arrays, score_threshold), None

    def arrays(self, outputs: Mapping[str, Array], row: int) -> list[Array]:
        """The outputs of image `row` that the decoder reads, as float32."""
        if self.how.kind == "batch-rows":
            (rows,) = (outputs[spec.name] for spec in self.outputs)
            return [np.ascontiguousarray(rows[rows[:, 0] == row], np.float32)]
        found = [np.ascontiguousarray(outputs[spec.name][row], np.float32) for spec in self.outputs]
        return [self._yunet(found)] if self.how.kind == "yunet" else found

    def _yunet(self, arrays: list[Array]) -> Array:
        """(N, 5 + 2 K) center, size, score and key points of all levels (Wu et al. 2023, "YuNet: a tiny
        millisecond-level face detector")."""
        levels, rows = len(self.how.strides), []
        for k, stride in enumerate(self.how.strides):
            (columns, cells), (classes, objects, boxes, *points) = self._grid(stride), arrays[k::levels]
            cell = np.stack([np.arange(cells) % columns, np.arange(cells) // columns], 1).astype(np.float32)
            more = [some + np.tile(cell, some.shape[1] // 2) for some in points]
            values = stride * np.concatenate([boxes[:, :2] + cell, np.exp(boxes[:, 2:]), *more], 1)
            rows.append(np.insert(values, 4, np.sqrt(np.clip(classes * objects, 0, 1)).ravel(), axis=1))
        return np.concatenate(rows)

    def _with_extra(self, output: Array, threshold: float) -> tuple[Array, Array, Array, Array]:
        how = self.how
        rows = output.T if how.kind == "yolo" and how.layout == "columns" else output
        with np.errstate(invalid="ignore", over="ignore"):
            if how.kind == "end-to-end":
                rows = rows[(rows[:, 4] > threshold) & (rows[:, 5] >= 0)]
                scores, labels, extra = rows[:, 4], rows[:, 5].round(), rows[:, 6:]
            else:
                rows, scores, labels = self._best(rows, threshold)
                extra = rows[:, -how.extra :]
            boxes, *_ = self._scaled((rows[:, :4], scores, labels))
            if how.rotated:
                extra = np.concatenate([boxes, extra], axis=1)
                boxes = enclosing(extra)
            elif not how.xyxy:
                boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
            sides = extra[:, 2:4] if how.rotated else boxes[:, 2:] - boxes[:, :2]
            valid = (sides > 0).all(1) & np.isfinite(boxes).all(1) & np.isfinite(extra).all(1)
        boxes, scores, extra = (np.ascontiguousarray(a[valid], np.float32) for a in (boxes, scores, extra))
        return boxes, scores, labels[valid].astype(np.int32), extra

    def _best(self, rows: Array, threshold: float) -> tuple[Array, Array, Array]:
        """Rows whose best class is above the threshold, its value and its label."""
        first = 5 if self.how.objectness else 4
        scores = rows[:, first : first + self._classes]
        sigmoid = (lambda x: 1 / (1 + np.exp(-x))) if self.how.logits else np.asarray
        best = sigmoid(scores.max(axis=1))
        if self.how.objectness:
            best = best * sigmoid(rows[:, 4])
        keep = np.flatnonzero(best > threshold)
        return rows[keep], best[keep], scores[keep].argmax(axis=1)

    def _yolo(self, arrays: list[Array], threshold: float) -> Candidates:
        how, o = self.how, arrays[0]
        first = 5 if how.objectness else 4
        if how.layout == "columns" and not how.objectness:
            return self._scaled(kernels.decode_columns(o[:4], o[4:], threshold, how.xyxy, how.logits))
        o = np.ascontiguousarray(o.T) if how.layout == "columns" else o
        objectness = o[:, 4] if how.objectness else None
        return self._scaled(kernels.decode_rows(o[:, :4], o[:, first:], threshold, objectness, how.xyxy, how.logits))

    def _dfl(self, arrays: list[Array], threshold: float) -> Candidates:
        how, found, start, levels = self.how, [], 0, len(self.how.strides)
        for k, stride in enumerate(how.strides):
            columns, cells = self._grid(stride)
            if len(arrays) == 1:
                part = arrays[0][start : start + cells]
                start += cells
                scores, distances = part[:, : self._classes], part[:, self._classes :]
            else:
                scores, distances = arrays[k], arrays[levels + k]
            found.append(kernels.decode_dfl(scores, distances, columns, stride, how.offset, threshold, how.logits))
        boxes, values, labels = zip(*found, strict=True)
        return np.concatenate(boxes), np.concatenate(values), np.concatenate(labels)

    def _fastestdet(self, arrays: list[Array], threshold: float) -> Candidates:
        channels, _, columns = arrays[0].shape
        flat = arrays[0].reshape(channels, -1)
        return kernels.decode_fastestdet(flat, columns, self.size.width, self.size.height, threshold)

    def _end_to_end(self, arrays: list[Array], threshold: float) -> Candidates:
        rows = arrays[0]
        if not self.how.xyxy:
            half = rows[:, 2:4] / 2
            rows = np.concatenate([rows[:, :2] - half, rows[:, :2] + half, rows[:, 4:]], axis=1)
        return self._scaled(kernels.decode_end_to_end(rows, threshold))

    def _grid(self, stride: int) -> tuple[int, int]:
        """Columns and cells of the level of this stride."""
        columns = -(-self.size.width // stride)
        return columns, columns * -(-self.size.height // stride)

    def _scaled(self, found: Candidates) -> Candidates:
        """Fractions of the input become its pixels."""
        if not self.how.normalized:
            return found
        return found[0] * np.array([self.size.width, self.size.height] * 2, np.float32), found[1], found[2]

    def _check(self) -> None:
        """ModelError where the outputs have other shapes; angles survive no stretching."""
        expected, bins = self._shapes(), [self.outputs[-1].shape[-1]] * (self.how.kind == "dfl")
        if len(self.outputs) == 1:
            bins = [n - self._classes for n in bins]
        pairs = [(spec.shape, shape) for spec, shape in zip(self.outputs, expected, strict=False)]
        sides = (side for pair in pairs for side in zip(*pair, strict=False))
        fits = all(len(given) == len(shape) for given, shape in pairs)
        fits &= all(g == -1 or isinstance(n, str) or g == n for g, n in sides)  # texts and open sizes fit all
        if not fits or any(n < 8 or n % 4 for n in bins):
            shapes = " and ".join(f"({', '.join(map(str, shape))})" for shape in expected)
            raise ModelError(f"{self.recipe.name}: decoder {self.how.kind!r} with {self._classes} class names: "
                             f"expected outputs {shapes}, got {'; '.join(map(str, self.outputs))}. `edgevid inspect` "
                             "shows which decoder fits.")  # fmt: skip
        if self.how.rotated and self.size.resize != "letterbox":
            raise InputError(f"{self.recipe.name}: rotated boxes need 'letterbox', got {self.size.resize!r}")

    def _shapes(self) -> Sequence[Shape]:
        """The shape of each output in the decoder's order."""
        how, classes = self.how, self._classes
        masks: Sequence[Shape] = [("batch", how.masks, "rows", "columns")] * bool(how.masks)
        levels = [self._grid(stride)[1] for stride in how.strides]
        one: Sequence[Shape] = [("batch", sum(levels), f"{classes} + 4 * bins")]
        values = 4 + int(how.objectness) + classes + how.extra
        shapes: Mapping[str, Sequence[Shape]] = {
            "yolo": [("batch", values, "N") if how.layout == "columns" else ("batch", "N", values), *masks],
            "yolox": [("batch", sum(levels), 5 + classes)],
            "yunet": [("batch", n, last) for last in (1, 1, 4, how.extra)[: 3 + bool(how.extra)] for n in levels],
            "dfl": one if len(self.outputs) == 1 else [("batch", n, k) for k in (classes, "4 * bins") for n in levels],
            "fastestdet": [("batch", 5 + classes, "rows", "columns")],
            "end-to-end": [("batch", "N", 6 + how.extra), *masks],
            "batch-rows": [("rows", 7)],
            "boxes-scores": [("batch", "N", 4), ("batch", "N", classes)],
            "boxes-scores-labels": [("batch", "N", 4), ("batch", "N"), ("batch", "N")],
        }
        return shapes[how.kind]


_DECODERS: Mapping[DecoderKind, Callable[[Decoder, list[Array], float], Candidates]] = {
    "yolo": Decoder._yolo,
    "yolox": lambda d, a, t: kernels.decode_yolox(a[0], d.size.width, d.size.height, [*d.how.strides], t),
    "yunet": lambda d, a, t: kernels.decode_rows(a[0][:, :4], a[0][:, 4:], t, None, d.how.xyxy, d.how.logits),
    "dfl": Decoder._dfl,
    "fastestdet": Decoder._fastestdet,
    "end-to-end": Decoder._end_to_end,
    "batch-rows": lambda d, a, t: kernels.decode_end_to_end(a[0][:, [1, 2, 3, 4, 6, 5]], t),
    "boxes-scores": lambda d, a, t: d._scaled(kernels.decode_rows(a[0], a[1], t, None, d.how.xyxy, d.how.logits)),
    "boxes-scores-labels": lambda d, a, t: d._scaled(kernels.decode_end_to_end(np.column_stack((a[0], a[1], a[2])), t)),
}
"""How each kind reads its outputs. A new decoder is a row here, in `_shapes` and in runtime/decoders.toml;
models/identify.py recognizes its outputs."""


def _chosen(recipe: DetectorRecipe, outputs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The outputs that the recipe names, or all of them, as many as its decoder reads."""
    by_name, how = {spec.name: spec for spec in outputs}, recipe.decode
    missing = [name for name in recipe.outputs if name not in by_name]
    if missing:
        raise ModelError(f"{recipe.name}: expected outputs {missing} of its recipe, got {sorted(by_name)}")
    chosen = [by_name[name] for name in recipe.outputs] or list(outputs)
    if not recipe.outputs and how.kind == "dfl" and len(outputs) == 2 * len(how.strides):
        # Exporters order the levels differently: scores before distances, the finest first.
        chosen.sort(key=lambda o: (o.shape[-1] != len(recipe.names), -o.shape[1]))
    counts = how.output_counts
    if len(chosen) not in counts:
        raise ModelError(f"{recipe.name}: decoder {how.kind!r} reads {' or '.join(map(str, counts))} outputs, the "
                         f"model has {len(chosen)}: {', '.join(s.name for s in chosen)}. Name the right ones under "
                         "[output] names.")  # fmt: skip
    return chosen

"""What a model file states of itself: inputs, outputs, the exporter's metadata."""

from __future__ import annotations

import ast
import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, ModelError
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.letterbox import Layout
from edgevid.runtime.onnxruntime.engine import OrtEngine

log = logging.getLogger("edgevid")


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """What a model file states of itself: inputs, outputs, the exporter's metadata."""

    image: TensorSpec
    outputs: tuple[TensorSpec, ...]
    width: int
    height: int
    layout: Layout
    producer: str
    names: tuple[str, ...]
    """Class names from the exporter's metadata; empty where it wrote none."""
    ultralytics: bool
    head: str = ""
    """Name of the model's last layer, from the exporter's metadata."""

    def cells(self, *strides: int) -> int:
        """Cells of the grids of these strides in total."""
        return sum(-(-self.width // s) * -(-self.height // s) for s in strides)


def read_signature(engine: OrtEngine) -> ModelSignature:
    """The signature of a loaded model; a blank image is run where output shapes are dynamic."""
    images = [spec for spec in engine.inputs if len(spec.shape) == 4]
    if not images:
        given = "; ".join(str(s) for s in engine.inputs)
        raise ModelError(f"{engine.path}: expected an input for images, of four axes, got {given}")
    image, meta = images[0], engine.metadata
    layout: Layout = "NHWC" if image.shape[3] in (1, 3) and image.shape[1] not in (1, 3) else "NCHW"
    height, width = image.shape[2:] if layout == "NCHW" else image.shape[1:3]
    asked = _literal(meta.get("imgsz"), (640, 640))
    asked = asked if isinstance(asked, (tuple, list)) and len(asked) == 2 else (640, 640)
    height, width = (height if height > 0 else int(asked[0])), (width if width > 0 else int(asked[1]))
    names: Any = _literal(meta.get("names"), {})
    found = ModelSignature(
        image=image,
        outputs=engine.outputs,
        width=width,
        height=height,
        layout=layout,
        producer=str(meta.get("producer", "")),
        names=tuple(str(n) for n in (names.values() if isinstance(names, dict) else names or ())),
        head=str(meta.get("head", "")),
        ultralytics="ltralytics" in str(meta.get("author", "")) + str(meta.get("description", "")),
    )
    dynamic = any(min(o.shape, default=1) < 1 for o in engine.outputs)
    return _with_run_shapes(engine, found) if dynamic else found


def _literal(text: str | None, default: object) -> object:
    try:
        return ast.literal_eval(text) if text else default
    except (ValueError, SyntaxError):
        return default


def _with_run_shapes(engine: OrtEngine, found: ModelSignature) -> ModelSignature:
    """The signature with the output shapes of a run on a blank image; unchanged where that run fails."""
    height, width = found.height, found.width
    known = {"orig_target_sizes": (width, height), "im_shape": (height, width)}
    feeds = {}
    for spec in engine.inputs:
        if spec.name == found.image.name:
            channels = spec.shape[1 if found.layout == "NCHW" else 3]
            channels = channels if channels > 0 else 3
            shape = (1, channels, height, width) if found.layout == "NCHW" else (1, height, width, channels)
            feeds[spec.name] = np.zeros(shape, spec.dtype)
        else:
            row = known.get(spec.name, (1,) * max(spec.shape[-1:], default=1))
            feeds[spec.name] = np.array([row], spec.dtype)
    try:
        given = engine.run(feeds)
    except EdgevidError as error:
        log.debug("the run on a blank image failed: %s", error)
        return found
    outputs = tuple(TensorSpec(o.name, given[o.name].shape, o.dtype) for o in engine.outputs)
    return dataclasses.replace(found, outputs=outputs)

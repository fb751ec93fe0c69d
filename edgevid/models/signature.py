"""What a model file states of itself: inputs, outputs, the exporter's metadata, and values of a trial run."""

import ast
import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, ModelError, log
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.letterbox import Layout
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Array


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
    """Class names from the exporter's metadata, in the order of their keys; empty where it wrote none."""
    ultralytics: bool
    head: str = ""
    """Name of the model's last layer, from the exporter's metadata."""
    channels: int = 3
    """Channels of the image: 1 or 3."""
    task: str = ""
    """Ultralytics' word for what the model does, from the exporter's metadata."""
    end_to_end: bool = False
    """Whether the exporter states that the model suppresses duplicates itself."""
    keypoints: tuple[int, int] = (0, 0)
    """Number of key points and values of each, from the exporter's metadata."""
    assumed_size: bool = False
    """Whether neither the input nor the metadata states the image's size."""
    trial: Mapping[str, Array] = field(default_factory=dict)
    """The outputs for an image of noise, by name; empty where that run failed."""

    def cells(self, *strides: int) -> int:
        """Cells of the grids of these strides in total."""
        return sum(-(-self.width // s) * -(-self.height // s) for s in strides)

    def values(self, output: TensorSpec) -> Array:
        """The trial's (rows, values) of a first image, as float32; without rows where it tells nothing."""
        found = self.trial.get(output.name)
        if found is None or not len(found) or np.isnan(found[0]).any():
            return np.zeros((0, max(output.shape[-1], 0)), np.float32)
        return np.asarray(found[0], np.float32)

    @property
    def gives_nan(self) -> bool:
        """Whether the trial's outputs hold NaN."""
        return any(np.isnan(array).any() for array in self.trial.values())


def read_signature(engine: OrtEngine) -> ModelSignature:
    """The signature of a loaded model, which is run once on an image of noise."""
    images = [spec for spec in engine.inputs if len(spec.shape) == 4]
    if not images:
        given = "; ".join(str(s) for s in engine.inputs)
        raise ModelError(f"{engine.path}: expected an input for images, of four axes, got {given}")
    image, meta = images[0], engine.metadata
    layout: Layout = "NHWC" if image.shape[3] in (1, 3) and image.shape[1] not in (1, 3) else "NCHW"
    height, width = image.shape[2:] if layout == "NCHW" else image.shape[1:3]
    stated = _pair(meta.get("imgsz"), (0, 0))
    side = stated if min(stated) > 0 else (640, 640)
    named, arguments = image.shape[1 if layout == "NCHW" else 3], _literal(meta.get("args"), {})
    arguments = arguments if isinstance(arguments, dict) else {}
    found = ModelSignature(
        image=image,
        outputs=engine.outputs,
        width=width if width > 0 else side[1],
        height=height if height > 0 else side[0],
        layout=layout,
        producer=str(meta.get("producer", "")),
        names=_names(_literal(meta.get("names"), {})),
        head=str(meta.get("head", "")),
        ultralytics="ltralytics" in str(meta.get("author", "")) + str(meta.get("description", "")),
        channels=named if named > 0 else 1 if meta.get("channels") == "1" else 3,
        task=str(meta.get("task", "")),
        end_to_end=meta.get("end2end") == "True" or arguments.get("nms") is True,  # or it is in the graph
        keypoints=_pair(meta.get("kpt_shape"), (0, 0)),
        assumed_size=min(height, width) < 1 and min(stated) < 1,
    )
    return _with_trial(engine, found)


def _names(found: Any) -> tuple[str, ...]:
    """The names of a list, or of a table in the order of its numbers; a second one of a name gets its number.

    >>> _names({"car": 1, "van": 0}), _names(["a", "a", None])
    (('van', 'car'), ('a', 'a 1', 'class 2'))
    """
    if isinstance(found, dict):
        if all(str(key).isdecimal() for key in found):
            found = [found[key] for key in sorted(found, key=int)]
        else:  # torchvision's class_to_idx, or in the order of the file
            numbered = all(isinstance(n, int) for n in found.values())
            found = sorted(found, key=found.__getitem__) if numbered else list(found.values())
    names: list[str] = []
    for k, one in enumerate(found if isinstance(found, (list, tuple)) else ()):
        name = " ".join(str("" if one is None else one).split()) or f"class {k}"
        names.append(f"{name} {k}" if name in names else name)
    return tuple(names)


def _pair(text: str | None, default: tuple[int, int]) -> tuple[int, int]:
    """The two whole numbers of a list, or one number twice; `default` where the text is anything else."""
    found = _literal(text, ())
    found = (found, found) if isinstance(found, int) else found
    pair = isinstance(found, (list, tuple)) and len(found) == 2 and all(isinstance(n, int) for n in found)
    return (int(found[0]), int(found[1])) if pair else default


def _literal(text: str | None, default: Any) -> Any:
    for read in (ast.literal_eval, json.loads):
        with suppress(ValueError, SyntaxError):
            return read(text) if text else default
    return default


def size_inputs(width: int, height: int) -> dict[str, tuple[int, int]]:
    """One row of each input by which exporters ask for sizes, so that boxes come in pixels of the input."""
    return {
        "orig_target_sizes": (width, height),  # RT-DETR, D-FINE
        "im_shape": (height, width),  # PaddleDetection
        "scale_factor": (1, 1),
    }


def _with_trial(engine: OrtEngine, found: ModelSignature) -> ModelSignature:
    """The signature with the outputs for an image of noise; unchanged where that run fails."""
    height, width, noise = found.height, found.width, np.random.default_rng(0)
    known = size_inputs(width, height)
    feeds = {}
    for spec in engine.inputs:
        batch = max(spec.shape[0], 1) if spec.shape else 1
        if spec.name == found.image.name:
            size = (found.channels, height, width)
            shape = size if found.layout == "NCHW" else (*size[1:], found.channels)
            scale = 255 if np.issubdtype(spec.dtype, np.integer) else 1
            feeds[spec.name] = (noise.random((batch, *shape)) * scale).astype(spec.dtype)
        else:
            row = known.get(spec.name, (1,) * max(spec.shape[-1:], default=1))
            feeds[spec.name] = np.array([row] * batch, spec.dtype)
    try:
        given = engine.run(feeds)
    except EdgevidError as error:
        log.debug("the run on an image of noise failed: %s", error)
        return found
    outputs = tuple(TensorSpec(o.name, given[o.name].shape, o.dtype) for o in engine.outputs)
    fixed = all(min(o.shape, default=1) > 0 for o in engine.outputs)
    trial = {name: np.array(value) for name, value in given.items()}
    return dataclasses.replace(found, outputs=engine.outputs if fixed else outputs, trial=trial)

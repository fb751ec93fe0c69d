"""The frames of a calibration: spread evenly, the same every time, preprocessed as in the pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.detect.preprocess import Preprocessor
from edgevid.errors import InputError
from edgevid.files.digest import sha256_of_all
from edgevid.optimize.frames import read_frames
from edgevid.runtime import Recipe
from edgevid.runtime.engine import Engine
from edgevid.types import Array, Frame

MAX_FRAMES = 200  # Frames selected by default
FEW_FRAMES = 100  # With fewer frames a warning is given
HOLD_OUT_EVERY = 5  # One in this many selected frames is held out of the calibration, to evaluate on
MAX_HELD_OUT = 48
FrameSources = str | Path | Sequence[str | Path]  # One source of frames, or several


class FrameRunner:
    """Runs frames through one engine with the recipe's own preprocessing."""

    def __init__(self, recipe: Recipe, engine: Engine, *, score_threshold: float | None = None) -> None:
        """InputError for a recipe without an image input."""
        if recipe.input is None:
            raise InputError(
                f"{recipe.name}: has no image input, so frames cannot calibrate it; quantize takes models of "
                "task 'detect' or 'classify', or others whose recipe has an [input] table"
            )
        self.recipe, self.engine = recipe, engine
        self.detector = Detector(engine, recipe, score_threshold=score_threshold) if recipe.task == "detect" else None
        self._preprocess = Preprocessor(recipe.input)

    def inputs(self, frame: Frame) -> dict[str, Array]:
        """The engine's inputs for one frame, valid until the next call."""
        if self.detector is not None:
            return self.detector.preprocess([frame])[0]
        images, _ = self._preprocess([frame])
        return {self.recipe.input_name or self.engine.inputs[0].name: images}

    def run(self, frame: Frame) -> Any:
        """Detections of a detector; copies of all outputs of other models."""
        if self.detector is not None:
            return self.detector.detect([frame])[0]
        return {k: v.copy() for k, v in self.engine.run(self.inputs(frame)).items()}


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """Frames to calibrate on, and others to evaluate on."""

    calibration: tuple[Frame, ...]
    held_out: tuple[Frame, ...]
    sources: tuple[str, ...]
    """File names, without folders."""


def select_frames(data: FrameSources | None, *, max_frames: int = MAX_FRAMES, hold_out: bool = True) -> FrameSelection:
    """`max_frames` of a video, a folder or glob of images, a text file that lists images, or several of them.

    They are spread evenly over each source; where one is too short, the next ones give more. Every fifth is
    held out of the calibration. Raises InputError without a source, SourceError where there are no frames.
    """
    sources = [data] if isinstance(data, (str, Path)) else list(data or ())
    if not sources:
        raise InputError(
            "quantize: expected frames like those that the model will run on, got none; name a video, a "
            "folder of images or a list of them with --data (random or blank images give wrong ranges)"
        )
    if max_frames < 1:
        raise InputError(f"--max-frames: expected at least 1, got {max_frames}")
    frames: list[Frame] = []
    for number, source in enumerate(sources):
        share = -(-(max_frames - len(frames)) // (len(sources) - number))
        if share > 0:
            frames += [named.frame for named in read_frames(source, share)]
    every, first = HOLD_OUT_EVERY, HOLD_OUT_EVERY // 2
    held_out = frames[first::every] if hold_out and len(frames) > 1 else []
    calibration = [f for n, f in enumerate(frames) if not held_out or n % every != first]
    step = -(-len(held_out) // MAX_HELD_OUT) if held_out else 1
    names = tuple(Path(str(s)).name for s in sources)
    return FrameSelection(tuple(calibration), tuple(held_out[::step]), names)


def frames_sha256(runner: FrameRunner, frames: Sequence[Frame]) -> str:
    """SHA-256 of the model's inputs: the images after preprocessing, in order."""

    def parts() -> Iterator[Any]:
        for frame in frames:
            for name, array in sorted(runner.inputs(frame).items()):
                yield f"{name} {array.dtype} {array.shape}"
                yield np.ascontiguousarray(array).data

    return sha256_of_all(parts())

"""The frames that a calibration sees: picked evenly, the same every time, fed as the pipeline feeds them."""

from __future__ import annotations

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

COUNT = 200
"""Frames picked unless told otherwise."""
FEW = 100
"""Fewer frames than this are warned about."""
HELD_EVERY = 5
"""One in so many picked frames is held out of the calibration, to judge by."""
HELD_MOST = 48
Where = str | Path | Sequence[str | Path]
"""One source of frames, or several."""


class Feed:
    """Frames into one engine through the recipe's own preprocessing, and its answers out of it."""

    def __init__(self, recipe: Recipe, engine: Engine, *, score: float | None = None) -> None:
        """InputError for a recipe that takes no image."""
        if recipe.input is None:
            raise InputError(
                f"{recipe.name}: takes no image, so frames cannot calibrate it; quantize wants a model of "
                "task 'detect' or 'classify', or another one whose recipe has an [input] table"
            )
        self.recipe, self.engine = recipe, engine
        self.detector = Detector(engine, recipe, score=score) if recipe.task == "detect" else None
        self._prepare = Preprocessor(recipe.input)

    def inputs(self, frame: Frame) -> dict[str, Array]:
        """What the engine is given for one frame, valid until the next call."""
        if self.detector is not None:
            return self.detector.feed([frame])[0]
        pictures, _ = self._prepare([frame])
        return {self.recipe.input_name or self.engine.inputs[0].name: pictures}

    def answer(self, frame: Frame) -> Any:
        """Detections of a detector; copies of all outputs of anything else."""
        if self.detector is not None:
            return self.detector.detect([frame])[0]
        return {k: v.copy() for k, v in self.engine.run(self.inputs(frame)).items()}


@dataclass(frozen=True, slots=True)
class Picked:
    """Frames for calibration, and others for judging."""

    calibration: tuple[Frame, ...]
    held_out: tuple[Frame, ...]
    sources: tuple[str, ...]
    """File names, without folders."""


def pick(where: Where | None, *, count: int = COUNT, held_out: bool = True) -> Picked:
    """`count` frames of a video, a folder or glob of images, a text file that lists images, or several such.

    Spread evenly over each source; what a short one lacks, the next ones give. Every fifth is held out of
    the calibration. Raises InputError where no frames were named, SourceError where there are none.
    """
    sources = [where] if isinstance(where, (str, Path)) else list(where or ())
    if not sources:
        raise InputError(
            "quantize: expected frames that the model will really see, got none; name a video, a folder of "
            "images or a list of them with --frames (random or blank images give wrong ranges)"
        )
    if count < 1:
        raise InputError(f"--count: expected at least 1 frame, got {count}")
    frames: list[Frame] = []
    for number, source in enumerate(sources):
        share = -(-(count - len(frames)) // (len(sources) - number))
        if share > 0:
            frames += [named.frame for named in read_frames(source, share)]
    held = frames[HELD_EVERY // 2 :: HELD_EVERY] if held_out and len(frames) > 1 else []
    kept = [f for n, f in enumerate(frames) if not held or n % HELD_EVERY != HELD_EVERY // 2]
    step = -(-len(held) // HELD_MOST) if held else 1
    return Picked(tuple(kept), tuple(held[::step]), tuple(Path(str(s)).name for s in sources))


def frames_sha256(feed: Feed, frames: Sequence[Frame]) -> str:
    """SHA-256 of all that the model was shown: the images after preprocessing, in order."""

    def shown() -> Iterator[Any]:
        for frame in frames:
            for name, array in sorted(feed.inputs(frame).items()):
                yield f"{name} {array.dtype} {array.shape}"
                yield np.ascontiguousarray(array).data

    return sha256_of_all(shown())

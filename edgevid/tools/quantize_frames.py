"""The frames that a calibration sees: picked evenly, the same every time, fed as the pipeline feeds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.detect import Detector
from edgevid.errors import InputError, SourceError
from edgevid.imaging import Preprocessor
from edgevid.runtime import Recipe
from edgevid.runtime.base import Engine
from edgevid.types import Array, Frame
from edgevid.video import IMAGES, masked, open_video, read_image

COUNT = 200
"""Frames picked unless told otherwise."""
FEW = 100
"""Fewer frames than this are warned about."""
HELD_EVERY = 5
"""One in so many picked frames is held out of the calibration, to judge by."""
HELD_MOST = 48
VIDEOS = frozenset((".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".ts"))


class Feed:
    """Frames into one engine through the recipe's own preprocessing, and its answers out of it."""

    def __init__(self, recipe: Recipe, engine: Engine, *, score: float | None = None) -> None:
        """InputError for a recipe that takes no picture."""
        if recipe.input is None:
            raise InputError(
                f"{recipe.name}: takes no picture, so frames cannot calibrate it; quantize wants a model of "
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


def pick(
    where: str | Path | Sequence[str | Path] | None, *, count: int = COUNT, held_out: bool = True
) -> Picked:
    """`count` frames of a video, a folder or glob of images and videos, or a text file that lists such.

    Spread evenly over all there is; of a video, over its length. Every fifth is held out of the
    calibration. Raises InputError where no frames were named or none can be had.
    """
    if where is None or (not isinstance(where, (str, Path)) and not len(where)):
        raise InputError(
            "quantize: wanted frames that the model will really see, given none; name a video, a folder of "
            "images or a list of them with --frames (random or blank pictures give wrong ranges)"
        )
    if count < 1:
        raise InputError(f"--count: wanted at least 1 frame, given {count}")
    files = list(_files(where))
    videos = [f for f in files if f.suffix.lower() not in IMAGES]
    images = [f for f in files if f.suffix.lower() in IMAGES]
    frames = list(_frames(videos, images, count))
    if not frames:
        raise InputError(
            f"--frames {masked(str(where))}: wanted pictures or a video, found none that decodes"
        )
    held = frames[HELD_EVERY // 2 :: HELD_EVERY] if held_out and len(frames) > 1 else []
    kept = [f for n, f in enumerate(frames) if not held or n % HELD_EVERY != HELD_EVERY // 2]
    step = -(-len(held) // HELD_MOST) if held else 1
    return Picked(tuple(kept), tuple(held[::step]), tuple(f.name for f in files))


def _files(where: str | Path | Sequence[str | Path]) -> Iterator[Path]:
    """The image and video files behind a name, in order."""
    if not isinstance(where, (str, Path)):
        for one in where:
            yield from _files(one)
        return
    text, path = str(where), Path(where)
    if "://" in text:
        raise InputError(
            f"--frames: wanted files, given the stream {masked(text)}; record some of it first "
            "(edgevid run --save-video), so that the calibration can be repeated"
        )
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES | VIDEOS)
        if not inside:
            raise InputError(f"--frames {path}: wanted a folder with images or videos, found none in it")
        yield from inside
    elif path.suffix.lower() in (".txt", ".lst", ".list") and path.is_file():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            if line and not line.startswith("#"):
                yield from _files(path.parent / line)
    elif any(c in text for c in "*?[") and not path.exists():
        yield from sorted(p for p in path.parent.glob(path.name) if p.is_file())
    elif path.is_file():
        yield path
    else:
        raise InputError(f"--frames: wanted a video, a folder, a list or images, there is no {path}")


def _frames(videos: list[Path], images: list[Path], count: int) -> Iterator[Frame]:
    """Evenly from each kind: images first, then what is left of the count shared by the videos."""
    share = count if not videos else min(len(images), max(count // (len(videos) + 1), 1) if images else 0)
    for path in _even(images, share):
        if (image := read_image(path)) is not None:
            yield Frame(image, 0.0, 0)
    rest = count - min(share, len(images)) if images else count
    for number, path in enumerate(videos):
        yield from _of_video(path, rest // len(videos) + (number < rest % len(videos)))


def _even(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items (all, where there are fewer), evenly spread."""
    return [items[i] for i in _places(len(items), count)]


def _places(total: int, count: int) -> list[int]:
    """`count` of 0 .. total - 1, each in the middle of its part.

    >>> _places(10, 3)
    [1, 5, 8]
    """
    return [int((i + 0.5) * total / count) for i in range(count)] if count < total else list(range(total))


def _of_video(path: Path, count: int) -> list[Frame]:
    """`count` frames spread over a video: by its announced length, or counted where that is wrong."""
    with open_video(path) as source:
        total = source.frame_count
    for _ in range(2):
        wanted, found, seen = set(_places(total or 0, count)), [], 0
        with open_video(path) as source:
            if source.live:
                raise SourceError(f"--frames: wanted a recorded video, given the live source {path}")
            for frame in source:
                if seen in wanted:
                    found.append(Frame(frame.image.copy(), frame.time, frame.index))
                seen += 1
                if total is not None and seen > max(wanted, default=-1) and found:
                    break
        if len(found) >= min(count, total or 0) and found:
            return found
        total = seen
    return found


def frames_sha256(feed: Feed, frames: Sequence[Frame]) -> str:
    """SHA-256 of all that the model was shown: the pictures after preprocessing, in order."""
    digest = hashlib.sha256()
    for frame in frames:
        for name, array in sorted(feed.inputs(frame).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

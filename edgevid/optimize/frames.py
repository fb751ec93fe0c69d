"""Real frames for calibration and comparison: some of a video, of a folder of images, or of a list. The same source and
count always give the same frames, so that what was measured can be measured again."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgevid.actions import SequenceRecognizer, input_named, load_recognizer
from edgevid.detect import Detector, Preprocessor
from edgevid.errors import InputError, SourceError, log, masked
from edgevid.evaluate.actions.data import LabeledVideo, list_videos
from edgevid.evaluate.actions.extract import crop_video
from edgevid.evaluate.recognition import replay_crops
from edgevid.files import sha256_of_all
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Frame
from edgevid.video.images import ImageSource, read_image
from edgevid.video.open import is_live, open_video

LISTS = frozenset((".txt", ".lst", ".list"))  # Suffixes of text files that name images, one per line


@dataclass(frozen=True, slots=True)
class NamedFrame:
    """A frame with the name that a report shows."""

    name: str  # The image's file name, or "<video> at 12.40 s"
    frame: Frame


def read_frames(source: str | Path, count: int | None = None) -> Iterator[NamedFrame]:
    """At most `count` frames of a video, a folder or glob of images, or a text list; None: all.

    They are spread evenly: of n frames, number i of `count` is frame floor((i + 1/2) n / count). A list (.txt, .lst)
    names one image per line, relative to its own folder; empty lines and lines that start with # are skipped, and
    so, with a warning, are images that do not decode. Raises SourceError where there is no frame, InputError for a
    camera or stream, which cannot be repeated."""
    if count is not None and count < 1:
        raise InputError(f"--max-frames: expected at least 1, got {count}")
    text = str(source)
    if is_live(text):
        what = f"--data: {masked(text)} is a live source, whose frames cannot be repeated"
        raise InputError(f"{what}; record it (`edgevid run SOURCE --out clip.mp4` or a recorder) and give the file")
    if Path(text).is_file() and Path(text).suffix.lower() in LISTS:
        frames = _images(_listed(Path(text)), count)
    else:
        with open_video(text) as opened:
            if isinstance(opened, ImageSource):
                frames = _images(opened.paths, count)
            else:
                frames = _of_video(Path(text.removeprefix("file://")), count, opened.frame_count)
    first = next(frames, None)  # read at once, so that an empty source fails at once
    if first is None:
        raise SourceError(f"--data: {source}: expected at least one image, none can be decoded")
    return chain((first,), frames)


def spread_indices(total: int, count: int | None) -> list[int]:
    """Indices of `count` frames among `total`: the middles of `count` equal parts.

    >>> spread_indices(10, 4)
    [1, 3, 6, 8]
    """
    if count is None or count >= total:
        return list(range(total))
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _listed(path: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise SourceError(f"--data: {path}: expected one image per line, got no UTF-8 text") from None
    found = [path.parent / line for line in lines if line and not line.startswith("#")]
    if not found:
        raise SourceError(f"--data: {path}: expected one image per line, got an empty list")
    missing = [p for p in found if not p.is_file()]
    if missing:
        what = f"--data: {path}: {len(missing)} of {len(found)} images do not exist"
        raise SourceError(f"{what}, the first is {missing[0]} (lines are relative to the list's own folder)")
    return found


def _images(paths: list[Path], count: int | None) -> Iterator[NamedFrame]:
    for index, row in enumerate(spread_indices(len(paths), count)):
        image = read_image(paths[row])
        if image is None:
            log.warning("--data: %s does not decode and is skipped", paths[row])
            continue
        yield NamedFrame(paths[row].name, Frame(image, float(index), index))


def _of_video(path: Path, count: int | None, announced: int | None) -> Iterator[NamedFrame]:
    """Frames of a video; where it holds fewer than announced, a second pass reads the missing ones."""
    total = announced
    if not announced and count is not None:
        with open_video(path) as video:
            total = sum(1 for _ in video)
    yielded: set[int] = set()
    expected = set(spread_indices(total, count)) if total and count is not None else None
    decoded = yield from _pass(path, expected, yielded)
    if count is not None and len(yielded) < min(count, decoded):
        left = [row for row in range(decoded) if row not in yielded]
        yield from _pass(path, {left[i] for i in spread_indices(len(left), count - len(yielded))}, yielded)


def _pass(path: Path, expected: set[int] | None, yielded: set[int]) -> Generator[NamedFrame, None, int]:
    """Yields the expected frames (None: all) and adds them to `yielded`; returns how many were decoded."""
    last, decoded = max(expected, default=-1) if expected is not None else None, 0
    with open_video(path) as video:
        for number, frame in enumerate(video):
            decoded = number + 1
            if expected is None or number in expected:
                yielded.add(number)
                yield NamedFrame(f"{path.name} at {frame.time:.2f} s", frame)
            if number == last:
                break
    return decoded


MAX_FRAMES = 200  # Frames selected by default
FEW_FRAMES = 100  # With fewer frames a warning is given
HOLD_OUT_EVERY = 5  # One in this many selected frames is held out of the calibration, to evaluate on
MAX_HELD_OUT = 48
FrameSources = str | Path | Sequence[str | Path]  # One source of frames, or several


class HeadFrame(Frame):
    """The inputs that a temporal head was given at one moment, in the place of an image."""

    def __init__(self, inputs: Mapping[str, Array], index: int) -> None:
        super().__init__(np.zeros((1, 1, 3), np.uint8), float(index), index)
        self.inputs = inputs


class FrameRunner:
    """Runs frames through one engine with the recipe's own preprocessing."""

    def __init__(self, recipe: Recipe, engine: Engine, *, score_threshold: float | None = None) -> None:
        self.recipe, self.engine = recipe, engine
        self.detector = Detector(engine, recipe, score_threshold=score_threshold) if recipe.task == "detect" else None
        self._preprocess: Preprocessor | None = None
        if recipe.input is not None and self.detector is None:
            self._image = input_named(engine, recipe.input_name, recipe)
            self._preprocess = Preprocessor(recipe.input, max(self._image.shape[0], 1))

    def inputs(self, frame: Frame) -> dict[str, Array]:
        """The engine's inputs for one frame, valid until the next call; InputError without an image input."""
        if isinstance(frame, HeadFrame):
            return {**frame.inputs}
        if self.detector is not None:
            return self.detector.preprocess([frame])[0]
        if self._preprocess is None or self.recipe.task == "head":
            wanted = "expected one that takes images, or clips for a temporal head"
            raise InputError(f"{self.recipe.name}: has no image input, so frames cannot calibrate it; {wanted}")
        self._preprocess([frame] * self._preprocess.batch)
        return {self._image.name: self._preprocess.buffer}

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
    sources: tuple[str, ...]  # File names, without folders


def select_frames(data: FrameSources | None, *, max_frames: int = MAX_FRAMES, hold_out: bool = True,
                  head: Recipe | None = None) -> FrameSelection:  # fmt: skip
    """`max_frames` of a video, a folder or glob of images, a text file that lists images, or several of them. They are
    spread evenly over each source; where one is too short, the next ones give more. Every fifth is held out of the
    calibration. For a temporal `head`: its inputs while clips (files, or a folder or CSV of classes) are replayed.
    Raises InputError without a source, SourceError where there are no frames."""
    sources = [data] if isinstance(data, (str, Path)) else list(data or ())
    if not sources:
        remedy = "a video, a folder of images or a list of them with --data (random or blank images give wrong ranges)"
        raise InputError(f"quantize: expected frames like those that the model will run on, got none; name {remedy}")
    if max_frames < 1:
        raise InputError(f"--max-frames: expected at least 1, got {max_frames}")
    if head is not None and head.task == "head":
        return _replayed(head, [Path(one) for one in sources], max_frames, hold_out)
    frames: list[Frame] = []
    for number, source in enumerate(sources):
        share = -(-(max_frames - len(frames)) // (len(sources) - number))
        if share > 0:
            frames += [named.frame for named in read_frames(source, share)]
    every, first = HOLD_OUT_EVERY, min(HOLD_OUT_EVERY // 2, len(frames) - 1)
    held_out = frames[first::every] if hold_out and len(frames) > 1 else []
    calibration = [f for n, f in enumerate(frames) if not held_out or n % every != first]
    step = -(-len(held_out) // MAX_HELD_OUT) if held_out else 1
    return FrameSelection(tuple(calibration), tuple(held_out[::step]), tuple(Path(str(s)).name for s in sources))


def _replayed(head: Recipe, sources: list[Path], count: int, hold_out: bool) -> FrameSelection:
    """Inputs of a head while clips, drawn until there are `count`, are replayed; every fifth is held out as a whole."""
    tables = [list_videos(s)[1] if s.is_dir() or s.suffix == ".csv" else [LabeledVideo(s, "", "")] for s in sources]
    clips, parts = [video.path for videos in tables for video in videos], (list[Frame](), list[Frame]())
    loaded: Any = load_recognizer(head.path, device="cpu", threads=1)
    seen: list[HeadFrame] = []

    def run(inputs: dict[str, Array]) -> Any:
        seen.append(HeadFrame({name: np.array(value) for name, value in inputs.items()}, len(seen)))
        return loaded.engine.run(inputs)

    engine: Any = SimpleNamespace(inputs=loaded.engine.inputs, outputs=loaded.engine.outputs, run=run)
    recognizer = SequenceRecognizer(loaded.extractor, engine, head, average=False)
    for number, row in enumerate(np.random.default_rng(0).permutation(len(clips)).tolist()):
        replay_crops(recognizer, *crop_video(clips[row], recognizer.spec), number + 1)
        parts[hold_out and number % HOLD_OUT_EVERY == 1].extend(seen)
        seen.clear()
        if sum(map(len, parts)) >= count:
            break
    return FrameSelection(tuple(parts[0]), tuple(parts[1]), tuple(clip.name for clip in clips))


def frames_sha256(runner: FrameRunner, frames: Sequence[Frame]) -> str:
    """SHA-256 of the model's inputs: the images after preprocessing, in order."""
    inputs = (pair for frame in frames for pair in sorted(runner.inputs(frame).items()))
    return sha256_of_all(p for name, a in inputs for p in (f"{name} {a.dtype} {a.shape}", np.ascontiguousarray(a).data))

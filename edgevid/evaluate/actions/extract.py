"""Videos as a recognizer gets them: the crops of a whole video, and an extractor's row at each moment. Long videos with
a class for each step: features as 50Salads, GTEA and Breakfast come (the copies of Farha and Gall, 2019), or videos
with their segments in one CSV, or in a CSV, WebVTT or ELAN file next to each."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevid.actions import ClipBuffer, ClipSpec, PoseExtractor
from edgevid.actions.clip import extract_newest
from edgevid.actions.clip_spec import SearchSpec
from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.actions.data import Corpus, Example
from edgevid.evaluate.items import SUFFIXES as VIDEOS
from edgevid.evaluate.items import group_of, read_items
from edgevid.files import atomic_path, cache_folder, sha256, sha256_of
from edgevid.output.timeline import FORMATS, Span, read_timeline
from edgevid.runtime.variants import model_digest, model_file
from edgevid.types import Array, Clips, Frame, Progress, Tracks
from edgevid.video.open import open_video

FEATURES_HZ = 15.0  # Steps per second of features, unless stated: those of GTEA and Breakfast; 50Salads has 30
BACKGROUND = "background"  # The class of what no segment covers
MOST_APART = 16  # Steps by which features and labels of a video may differ in length: the longer one loses its end


def crop_video(path: Path, spec: ClipSpec) -> tuple[Array, Array]:
    """(L, h, w, 3) crops of a whole video, one per moment, and their rectangles (L, 4)."""
    found = [(clips.pixels[0, -1].copy(), clips.boxes[0, -1].copy()) for clips in clips_of(path, spec)]
    crops, boxes = ([one[n] for one in found] for n in (0, 1))
    return np.array(crops, np.uint8).reshape(-1, spec.height, spec.width, 3), np.array(boxes, np.float32).reshape(-1, 4)


def clips_of(path: Path, spec: ClipSpec) -> Iterator[Clips]:
    """The clip (1, T, h, w, 3) of a whole video at each moment; it holds until the next one."""
    whole: dict[str, Any] = {} if isinstance(spec, SearchSpec) else {"context": 1.0, "region": (0.0, 0.0, 1.0, 1.0)}
    buffer = ClipBuffer(dataclasses.replace(spec, min_side=1.0, **whole), capacity=1)
    with open_video(path) as video:
        for frame in video:
            if len(clips := buffer.update(frame, whole_frame(frame))):
                yield clips


def timed_rows(path: Path, extractor: Any, spec: ClipSpec) -> tuple[Array, Array]:
    """(L,) seconds of each moment of a whole video and the extractor's row (L, R) there; a moment without a frame has
    the row before it. InputError for a video without a usable frame."""
    found, spec = {}, dataclasses.replace(spec, steps=max(extractor.steps, 1))
    for clips in clips_of(path, spec):
        times, rows = extract_newest(extractor, clips)
        found[round(float(times[0]) * spec.rate_hz)] = rows[0]
    if not found:
        raise InputError(f"{path}: no usable frame; is it shorter than {1 / spec.rate_hz:.3f} s?")
    known = np.array([*found])
    moments = np.arange(known[0], known[-1] + 1)
    rows = np.stack([*found.values()])
    return moments / spec.rate_hz, rows[np.searchsorted(known, moments, side="right") - 1]


def whole_frame(frame: Frame) -> Tracks:
    """One object that fills the frame: labeled clips show one acting person."""
    box = [0, 0, frame.width, frame.height]
    return Tracks.of(ids=[1], boxes=[box], scores=[1], labels=[0], match=[0], age=[0], unseen=[0])


def cached(key: Sequence[Any], make: Callable[[], Sequence[Array]]) -> list[Array]:
    """The arrays that `make` gives, from the cache where it has them by this key."""
    path = cache_folder() / "features" / f"{sha256(json.dumps(key))[:20]}.npz"
    if not path.is_file():
        with atomic_path(path) as new, new.open("wb") as file:
            np.savez(file, *make())
    with np.load(path) as kept:
        return list(kept.values())


def identity_of(extractor: Any) -> str:
    """What the rows of an extractor depend on: its kind, the joints, and of each stream the model's content, which may
    differ from what its recipe states, and what the recipe says of pixels and outputs."""
    recipes = [one.recipe for one in getattr(extractor, "streams", (extractor,)) if hasattr(one, "recipe")]
    read = [(model_digest(model_file(one)), one.input, one.outputs, dict(one.tables)) for one in recipes]
    return repr((type(extractor).__name__, getattr(extractor, "layout", ""), *read))


class LongVideo(NamedTuple):
    """A video and its labeled segments."""

    path: Path
    group: str
    spans: list[Span]

    def labels(self, times: Array, names: Sequence[str]) -> Array:
        """(T,) class at each time, the last one where there is no segment; of two that overlap the later counts."""
        found = np.full(len(times), len(names) - 1)
        for start, end, label, _ in self.spans:
            found[(times >= start) & (times < end)] = names.index(label)
        return found


def list_long_videos(data: Path) -> tuple[tuple[str, ...], list[LongVideo]] | None:
    """Class names, BACKGROUND as the last, and videos of a CSV (path,start,end,label[,group]; a line per segment), or
    of a folder of videos with a timeline of the same name next to each; None for other data. InputError for a video
    without a timeline, FileFormatError for times that are no numbers."""
    videos: dict[Path, LongVideo] = {}
    if data.suffix.lower() == ".csv" and data.is_file():
        items, left_out = read_items(data)
        if any(one.end for one in items) and left_out:
            raise InputError(": ".join(left_out[0]))
        for one in (one for one in items if one.end):
            try:
                span = Span(float(one.start), float(one.end), one.labels["label"])
            except (ValueError, KeyError):
                given = (one.path.name, one.start, one.end)
                raise FileFormatError(data, "start, end, label", expected="seconds, and a label", got=given) from None
            videos.setdefault(one.path, LongVideo(one.path, one.group, [])).spans.append(span)
    elif data.is_dir():
        paths = sorted(one for one in data.iterdir() if one.suffix.lower() in VIDEOS)
        found = {one: [t for s in FORMATS if (t := one.with_suffix(s)).is_file()] for one in paths}
        if any(found.values()) and (missing := [str(one) for one, timeline in found.items() if not timeline]):
            raise InputError(f"{missing[0]}: expected its segments next to it, in {' or '.join(FORMATS)}")
        videos = {one: LongVideo(one, group_of(one), read_timeline(of[0])) for one, of in found.items() if of}
    names = sorted({one.label for video in videos.values() for one in video.spans} - {BACKGROUND})
    return ((*names, BACKGROUND), list(videos.values())) if videos else None


def read_long_videos(names: tuple[str, ...], videos: list[LongVideo], extractor: Any, spec: ClipSpec,
                     progress: Progress = lambda done, total, text: None) -> Corpus:  # fmt: skip
    """The corpus of videos that are labeled by segments: a row of the extractor at each moment of `spec.rate_hz`, from
    the cache where present, and the class at its time."""
    examples = []
    layout = extractor.layout if isinstance(extractor, PoseExtractor) else None
    identity = [spec.digest, identity_of(extractor)]
    for number, video in enumerate(videos):
        progress(number, len(videos), f"reading {video.path.name}")
        content = sha256_of(video.path)
        times, rows = cached([content, *identity], partial(timed_rows, video.path, extractor, spec))
        examples.append(Example(str(video.path), video.group, rows, video.labels(times, names), content))
    progress(len(videos), len(videos), "")
    if not any((one.labels == len(names) - 1).any() for one in examples):  # all of every video is labeled
        names = names[:-1]
    return Corpus(names, tuple(examples), spec.rate_hz, layout=layout)


def is_features(data: Path) -> bool:
    """Whether a folder holds features/ and groundTruth/."""
    return (data / "groundTruth").is_dir()


def read_features(folder: Path, rate_hz: float) -> Corpus:
    """Features (D, T) or (T, D) of features/*.npy with the labels of groundTruth/*.txt, one a step, at `rate_hz` steps
    per second. mapping.txt ("0 cut_tomato") gives the order of the classes. InputError where features are missing or of
    another length, and for a label that the mapping lacks."""
    truths = {path: path.read_text(encoding="utf-8-sig").split() for path in (folder / "groundTruth").glob("*.txt")}
    mapping, known = folder / "mapping.txt", sorted({one for labels in truths.values() for one in labels})
    names = mapping.read_text(encoding="utf-8-sig").split()[1::2] if mapping.is_file() else known
    if other := set(known) - set(names):
        raise InputError(f"{folder}: expected labels of mapping.txt, got {', '.join(sorted(other))}")
    examples = []
    for truth, labels in sorted(truths.items()):
        raw = _steps_first(folder / "features" / f"{truth.stem}.npy", len(labels))
        steps = np.array([names.index(one) for one in labels[: len(raw)]])
        content = sha256(f"{truth.stem} {sha256_of(truth)}")  # the features are gigabytes
        examples.append(Example(truth.stem, group_of(truth), raw[: len(steps)], steps, content))
    return Corpus(tuple(names), tuple(examples), rate_hz)


def _steps_first(path: Path, steps: int) -> Array:
    """Features (T, D), read from the disk when they are needed."""
    try:
        raw = np.load(path, mmap_mode="r")
    except (EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: expected the features of a video with labels: {error}") from None
    apart = [abs(size - steps) for size in raw.shape]
    if raw.ndim != 2 or min(apart) > MOST_APART:
        raise FileFormatError(path, "shape", expected=f"(D, {steps}) or ({steps}, D), a step per label", got=raw.shape)
    return np.asarray(raw if apart[0] < apart[1] else raw.T)


def folds(folder: Path, corpus: Corpus) -> dict[str, list[Corpus]]:
    """Training and test half of each splits/train.splitK.bundle and test.splitK.bundle, lists of names."""
    at, found = {one.name: row for row, one in enumerate(corpus.examples)}, {}
    for path in sorted((folder / "splits").glob("train.split*.bundle")):
        halves = [path, path.with_name(path.name.replace("train", "test"))]
        try:
            rows = [[at[Path(line).stem] for line in half.read_text().split()] for half in halves]
        except (KeyError, OSError) as error:
            raise InputError(f"{halves[1]}, {path.name}: expected names of labeled videos, got {error}") from None
        found[path.stem.removeprefix("train.split")] = [corpus.pick(chosen) for chosen in rows]
    return found

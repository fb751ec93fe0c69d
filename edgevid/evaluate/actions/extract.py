"""Videos as a recognizer gets them: the crops of a whole video, and an extractor's row at each moment."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.actions import ClipBuffer, ClipSpec, PoseExtractor
from edgevid.actions.clip import extract_newest
from edgevid.actions.clip_spec import SearchSpec
from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, Example
from edgevid.evaluate.actions.long_videos import LongVideo
from edgevid.files import atomic_path, cache_folder, sha256, sha256_of
from edgevid.runtime.variants import model_digest, model_file
from edgevid.types import Array, Clips, Frame, Progress, Tracks
from edgevid.video.open import open_video


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
    found = {}
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


def read_long_videos(
    names: tuple[str, ...], videos: list[LongVideo], extractor: Any, spec: ClipSpec,
    progress: Progress = lambda done, total, text: None,
) -> Corpus:  # fmt: skip
    """The corpus of videos that are labeled by segments: a row of the extractor at each moment of `spec.rate_hz`, from
    the cache where present, and the class at its time."""
    examples = []
    layout = extractor.layout if isinstance(extractor, PoseExtractor) else None
    identity = [spec.digest, model_digest(model_file(extractor.recipe)), repr((extractor.recipe, layout))]
    for number, video in enumerate(videos):
        progress(number, len(videos), f"reading {video.path.name}")
        content = sha256_of(video.path)
        times, rows = cached([content, *identity], partial(timed_rows, video.path, extractor, spec))
        examples.append(Example(str(video.path), video.group, rows, video.labels(times, names), content))
    progress(len(videos), len(videos), "")
    if not any((one.labels == len(names) - 1).any() for one in examples):  # all of every video is labeled
        names = names[:-1]
    return Corpus(names, tuple(examples), spec.rate_hz, layout=layout)

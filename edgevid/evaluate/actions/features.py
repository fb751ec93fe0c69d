"""Features of labeled videos, extracted once by the pipeline's own way from pixels to rows.

Every video goes through the same ClipBuffer and extractor as a live stream does, so there is no
second preprocessing that could differ. Results are kept, one file a video and view: an interrupted
run goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.clips import ClipBuffer
from edgevid.actions.features import Extractor, PoseExtractor
from edgevid.errors import InputError
from edgevid.evaluate.actions.augment import vary_pictures
from edgevid.evaluate.actions.data import Corpus, Example, Listed
from edgevid.files.atomic import atomic_path
from edgevid.files.digest import sha256
from edgevid.types import Array, Clips, Frame, Tracks
from edgevid.video.open import open_video

Progress = Callable[[int, int, str], None]


def extract_features(
    videos: list[Listed],
    names: tuple[str, ...],
    extractor: Extractor,
    spec: ClipSpec,
    cache: Path,
    *,
    extractor_id: str,
    views: int = 0,
    progress: Progress = lambda done, total, name: None,
) -> Corpus:
    """The corpus of labeled videos: rows of the extractor at `spec.rate_hz`, from the cache where known.

    `views` further copies are extracted from augmented images (kornia: geometry, color, JPEG), to
    train on. Where a video shows several people, cut it to the one who acts first.
    """
    spec = dataclasses.replace(spec, steps=1, stride_s=0.0)
    examples, copies = [], {}
    total = len(videos) * (1 + views)
    for number, video in enumerate(videos):
        rows = []
        for view in range(1 + views):
            progress(number * (1 + views) + view, total, video.path.name)
            rows.append(_cached(video, extractor, spec, cache, extractor_id, view))
        if not len(rows[0]):
            raise InputError(
                f"{video.path}: no frame could be used; is it shorter than {1 / spec.rate_hz:.3f} s?"
            )
        label = np.full(len(rows[0]), names.index(video.label))
        examples.append(Example(str(video.path), video.group, rows[0], label))
        copies[str(video.path)] = tuple(r for r in rows[1:] if len(r))
    progress(total, total, "")
    joints = extractor.joints if isinstance(extractor, PoseExtractor) else ""
    return Corpus(names, tuple(examples), spec.rate_hz, joints=joints, views=copies)


def _cached(
    video: Listed, extractor: Extractor, spec: ClipSpec, cache: Path, extractor_id: str, view: int
) -> Array:
    state = video.path.stat()
    key = [str(video.path.resolve()), state.st_size, state.st_mtime_ns, spec.digest, extractor_id, view]
    name = sha256(json.dumps(key))[:20]
    path = cache / f"{name}.npy"
    if path.is_file():
        return np.asarray(np.load(path))
    crops, boxes = look_through(video.path, spec)
    seed = int.from_bytes(bytes.fromhex(name[:8]), "big")
    shown = vary_pictures(crops, seed) if view and len(crops) else crops
    rows = extractor.look(shown, boxes) if len(crops) else np.zeros((0, extractor.raw_width), np.float32)
    with atomic_path(path) as new:  # a run that is killed leaves no half a file behind
        np.save(new, rows)
    return rows


def look_through(path: Path, spec: ClipSpec) -> tuple[Array, Array]:
    """(L, h, w, 3) crops of a whole video, one a moment, and what each shows (L, 4); the box is all."""
    crops, boxes = [], []
    for clips in _clips(path, spec):
        crops.append(clips.pixels[0, -1].copy())
        boxes.append(clips.boxes[0, -1].copy())
    if not crops:
        return np.zeros((0, spec.height, spec.width, 3), np.uint8), np.zeros((0, 4), np.float32)
    return np.stack(crops), np.stack(boxes)


def _clips(path: Path, spec: ClipSpec) -> Iterator[Clips]:
    whole = dataclasses.replace(spec, context=1.0, min_side=1.0, region=(0.0, 0.0, 1.0, 1.0))
    buffer = ClipBuffer(whole, capacity=1)
    with open_video(path) as video:
        for frame in video:
            clips = buffer.update(frame, whole_picture(frame))
            if len(clips):
                yield clips


def whole_picture(frame: Frame) -> Tracks:
    """One object that fills the frame: labeled clips show who acts."""
    return Tracks.of(
        ids=[1],
        boxes=[[0, 0, frame.width, frame.height]],
        scores=[1],
        labels=[0],
        match=[0],
        age=[0],
        unseen=[0],
    )

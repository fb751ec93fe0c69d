"""Crops of labeled videos, cut by the ClipBuffer like those of a live stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSpec
from edgevid.types import Array, Clips, Frame, Tracks
from edgevid.video.open import open_video

Progress = Callable[[int, int, str], None]


def crop_video(path: Path, spec: ClipSpec) -> tuple[Array, Array]:
    """(L, h, w, 3) crops of a whole video, one per moment, and their rectangles (L, 4)."""
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
            clips = buffer.update(frame, whole_frame(frame))
            if len(clips):
                yield clips


def whole_frame(frame: Frame) -> Tracks:
    """One object that fills the frame: labeled clips show one acting person."""
    box = [0, 0, frame.width, frame.height]
    return Tracks.of(ids=[1], boxes=[box], scores=[1], labels=[0], match=[0], age=[0], unseen=[0])

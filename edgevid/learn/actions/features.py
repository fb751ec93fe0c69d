"""Features of labeled videos, extracted like those of a live stream.

Every video goes through the ClipBuffer and the extractor of the pipeline, so there is no second preprocessing
that could differ. Results are cached, one file per video and augmentation: an interrupted run continues.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.features import Extractor, PoseExtractor
from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, Example, LabeledVideo
from edgevid.evaluate.actions.replay import crop_video
from edgevid.files.atomic import atomic_path
from edgevid.files.digest import sha256
from edgevid.learn.actions.augment import augment_crops
from edgevid.types import Array

Progress = Callable[[int, int, str], None]
"""Called with the videos done, their total, and the current one's name."""


def extract_features(
    videos: list[LabeledVideo],
    names: tuple[str, ...],
    extractor: Extractor,
    spec: ClipSpec,
    cache: Path,
    *,
    extractor_id: str,
    augmentations: int = 0,
    progress: Progress = lambda done, total, name: None,
) -> Corpus:
    """The corpus of labeled videos: rows of the extractor at `spec.rate_hz`, from the cache where present.

    `augmentations` further copies are extracted from augmented images (kornia: geometry, color, JPEG), for
    training. Crop videos of several people to the one who acts first.
    """
    spec = dataclasses.replace(spec, steps=1, stride_s=0.0)
    examples, copies = [], {}
    total = len(videos) * (1 + augmentations)
    for number, video in enumerate(videos):
        rows = []
        for copy in range(1 + augmentations):
            progress(number * (1 + augmentations) + copy, total, video.path.name)
            rows.append(_cached(video, extractor, spec, cache, extractor_id, copy))
        if not len(rows[0]):
            raise InputError(f"{video.path}: no usable frame; is it shorter than {1 / spec.rate_hz:.3f} s?")
        label = np.full(len(rows[0]), names.index(video.label))
        examples.append(Example(str(video.path), video.group, rows[0], label))
        copies[str(video.path)] = tuple(r for r in rows[1:] if len(r))
    progress(total, total, "")
    joints = extractor.joints if isinstance(extractor, PoseExtractor) else ""
    return Corpus(names, tuple(examples), spec.rate_hz, joints=joints, augmentations=copies)


def _cached(
    video: LabeledVideo, extractor: Extractor, spec: ClipSpec, cache: Path, extractor_id: str, copy: int
) -> Array:
    state = video.path.stat()
    key = [str(video.path.resolve()), state.st_size, state.st_mtime_ns, spec.digest, extractor_id, copy]
    name = sha256(json.dumps(key))[:20]
    path = cache / f"{name}.npy"
    if path.is_file():
        return np.asarray(np.load(path))
    crops, boxes = crop_video(video.path, spec)
    seed = int.from_bytes(bytes.fromhex(name[:8]), "big")
    shown = augment_crops(crops, seed) if copy and len(crops) else crops
    rows = extractor.extract(shown, boxes) if len(crops) else np.zeros((0, extractor.raw_width), np.float32)
    with atomic_path(path) as new:
        np.save(new, rows)
    return rows

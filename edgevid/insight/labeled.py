"""Labeled data whose labels are checked: scores, features, skeletons, or images and videos by class."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, list_videos, read_skeletons
from edgevid.evaluate.arrays import read_arrays
from edgevid.evaluate.paired import read_tracks
from edgevid.types import U8, Array
from edgevid.video.images import resize_area
from edgevid.video.open import are_images, open_video

SIDE = 16  # Pixels of the side of the gray image that describes an image without an extractor


class Labeled(NamedTuple):
    """N labeled items of C classes: (N,) labels, and (N, F) features or (N, C) out-of-fold probabilities."""

    items: tuple[str, ...]
    """Their paths, tracks or numbers."""
    names: tuple[str, ...]
    labels: Array
    features: Any = None
    groups: Array | None = None
    """(N,) scenes, where they are known."""
    probabilities: Array | None = None
    images: Array | None = None
    """(N, h, w), where they were given; else items may be files of images."""

    def image(self, row: int) -> U8 | None:
        """(h, w, 3) RGB of an item; None where it has none."""
        if self.images is None:
            return _first_image(Path(self.items[row])) if Path(self.items[row]).is_file() else None
        low, high = float(self.images.min()), float(self.images.max())
        shown = (255 * (self.images[row] - low) / max(high - low, 1e-9)).astype(np.uint8)
        return np.repeat(shown[..., None], 3, 2)


def read_labeled(path: Path, extractor: str = "") -> Labeled:
    """Reads out-of-fold scores (CSV or NPZ, docs/abstain.md), features (NPZ with `features`, `labels` and optional
    `items`, `groups`, `images`), skeletons, or a folder or CSV as of `edgevid train actions`. `extractor` describes
    images and videos; without one, images are described by their pixels."""
    kind = path.suffix.lower()
    arrays = read_arrays(path) if kind == ".npz" else {}
    if "joints" in arrays:
        return _of_corpus(read_skeletons(path, tuple(sorted({str(s) for s in arrays.get("label", ())}))))
    if {"features", "labels"} <= arrays.keys():
        classes, labels = np.unique(arrays["labels"].astype(str), return_inverse=True)
        items = tuple(map(str, arrays.get("items", range(len(labels)))))
        known = {name: arrays.get(name) for name in ("features", "groups", "images")}
        return Labeled(items, tuple(classes.tolist()), labels.reshape(-1), **known)
    if arrays or (kind == ".csv" and path.is_file() and b"path" not in path.open("rb").readline()):
        found = read_tracks(path)
        return Labeled(found.items, found.names, found.labels, probabilities=found.probabilities)
    if extractor:
        from edgevid.learn.actions.train import TrainConfig, clip_spec, read_videos

        config = TrainConfig(path, extractor=extractor)
        return _of_corpus(read_videos(config, clip_spec(config)))
    names, videos = list_videos(path)
    if video := next((one.path for one in videos if not are_images(str(one.path))), None):
        raise InputError(f"{video}: expected images, got a video; name the model that describes it: --extractor")
    pixels = [resize_area(_first_image(one.path), (SIDE, SIDE)).mean(2).ravel() / 255 for one in videos]
    labels, groups = np.array([names.index(one.label) for one in videos]), np.array([one.group for one in videos])
    return Labeled(tuple(str(one.path) for one in videos), names, labels, np.array(pixels), groups)


def _of_corpus(corpus: Corpus) -> Labeled:
    """Mean and standard deviation over time of each example's features, each column of variance 1."""
    rows = []
    for example in corpus.examples:
        steps, valid = corpus.encode(example.raw, np.ones(len(example.raw), bool))
        known = steps[valid] if valid.any() else steps
        rows.append(np.concatenate([known.mean(0), known.std(0)]))
    found = np.array(rows, np.float64)
    found = (found - found.mean(0)) / np.maximum(found.std(0), 1e-9)
    items, groups = ([getattr(e, key) for e in corpus.examples] for key in ("name", "group"))
    return Labeled(tuple(items), corpus.names, corpus.labels, found, np.array(groups))


def _first_image(path: Path) -> U8:
    with open_video(path) as video:
        return next(iter(video)).image

"""Rows of long videos for training: a row of the extractor at each moment, and the class at its time."""

import json
from pathlib import Path

import numpy as np

from edgevid.actions import ClipSpec, PoseExtractor, load_extractor
from edgevid.evaluate.actions.data import Corpus, Example
from edgevid.evaluate.actions.long_videos import is_features, list_long_videos, read_features
from edgevid.evaluate.recognition import timed_rows
from edgevid.files import atomic_path, cache_folder, sha256, sha256_of
from edgevid.runtime.variants import model_digest, model_file
from edgevid.types import Progress


def read_long_videos(
    data: Path, feature_rate: float, extractor: str, spec: ClipSpec, progress: Progress
) -> Corpus | None:
    """The corpus of features, or of videos that are labeled by segments: a row of the extractor at each moment of
    `spec.rate_hz`, from the cache where present; None of other data."""
    if is_features(data):
        return read_features(data, feature_rate)
    listed = list_long_videos(data)
    if listed is None:
        return None
    (names, videos), examples = listed, []
    front = load_extractor(extractor)
    identity = [spec.digest, model_digest(model_file(front.recipe)), repr(front.recipe)]
    for number, video in enumerate(videos):
        progress(number, len(videos), f"reading {video.path.name}")
        content = sha256_of(video.path)
        cache = cache_folder() / "features" / f"{sha256(json.dumps([content, *identity]))[:20]}.npz"
        if not cache.is_file():
            times, rows = timed_rows(video.path, front, spec)
            with atomic_path(cache) as new, new.open("wb") as file:
                np.savez(file, times=times, rows=rows)
        with np.load(cache) as kept:
            times, rows = kept["times"], kept["rows"]
        examples.append(Example(str(video.path), video.group, rows, video.labels(times, names), content))
    progress(len(videos), len(videos), "")
    layout = front.layout if isinstance(front, PoseExtractor) else None
    return Corpus(names, tuple(examples), spec.rate_hz, layout=layout)

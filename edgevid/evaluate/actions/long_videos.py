"""Long videos with a class for each step: features as 50Salads, GTEA and Breakfast come (the copies of Farha and Gall,
2019), or videos with their segments in one CSV, or in a CSV, WebVTT or ELAN file next to each."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.actions.data import Corpus, Example
from edgevid.evaluate.items import SUFFIXES as VIDEOS
from edgevid.evaluate.items import group_of
from edgevid.files import sha256, sha256_of
from edgevid.output.timeline import SUFFIXES, Span, read_timeline
from edgevid.types import Array

FEATURES_HZ = 15.0  # Steps per second of features, unless stated: those of GTEA and Breakfast; 50Salads has 30
BACKGROUND = "background"  # The class of what no segment covers
MOST_APART = 16  # Steps by which features and labels of a video may differ in length: the longer one loses its end


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
    without a timeline."""
    if data.is_dir():
        paths = sorted(one for one in data.iterdir() if one.suffix.lower() in VIDEOS)
        found = [next((t for s in SUFFIXES if (t := one.with_suffix(s)).is_file()), None) for one in paths]
        if not any(found):
            return None
        if missing := [str(one) for one, timeline in zip(paths, found, strict=True) if timeline is None]:
            raise InputError(f"{missing[0]}: expected its segments next to it, in {' or '.join(SUFFIXES)}")
        videos = [LongVideo(one, group_of(one), read_timeline(t)) for one, t in zip(paths, found, strict=True) if t]
    else:
        videos = _of_csv(data)
        if not videos:
            return None
    names = sorted({one.label for video in videos for one in video.spans} - {BACKGROUND})
    return (*names, BACKGROUND), videos


def _of_csv(data: Path) -> list[LongVideo]:
    """The videos of a CSV; none of another CSV."""
    if data.suffix.lower() != ".csv" or not data.is_file():
        return []
    with data.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"path", "start", "end", "label"} <= rows[0].keys():
        return []
    videos: dict[str, LongVideo] = {}
    for line, row in enumerate(rows, 2):
        path = data.parent / (row["path"] or "")
        try:
            span = Span(float(row["start"]), float(row["end"]), row["label"])
        except (TypeError, ValueError):
            raise FileFormatError(data, f"line {line}", expected="start and end in seconds", got=row) from None
        if not path.is_file() or not span.label:
            raise InputError(f"{data}, line {line}: expected a label and an existing file, got {row}")
        one = videos.setdefault(row["path"], LongVideo(path, row.get("group") or group_of(path), []))
        one.spans.append(span)
    return list(videos.values())


def is_features(data: Path) -> bool:
    """Whether a folder holds features/ and groundTruth/."""
    return (data / "groundTruth").is_dir()


def is_long(data: Path) -> bool:
    """Whether data are features or videos with a class for each step."""
    return is_features(data) or list_long_videos(data) is not None


def read_features(folder: Path, rate_hz: float) -> Corpus:
    """Features (D, T) or (T, D) of features/*.npy with the labels of groundTruth/*.txt, one a step, at `rate_hz` steps
    per second. mapping.txt ("0 cut_tomato") gives the order of the classes. InputError where features are missing or of
    another length, and for a label that the mapping lacks."""
    truths = {
        path.stem: path.read_text(encoding="utf-8-sig").split() for path in (folder / "groundTruth").glob("*.txt")
    }
    mapping = folder / "mapping.txt"
    lines = [line.split(maxsplit=1) for line in mapping.read_text().splitlines()] if mapping.is_file() else []
    names = [line[-1].strip() for line in lines if line] or sorted(
        {one for labels in truths.values() for one in labels}
    )
    index = {name: number for number, name in enumerate(names)}
    examples = []
    for name, labels in sorted(truths.items()):
        path, truth = folder / "features" / f"{name}.npy", folder / "groundTruth" / f"{name}.txt"
        if other := set(labels) - set(names):
            raise InputError(f"{truth}: expected labels of mapping.txt, got {', '.join(sorted(other))}")
        raw = _steps_first(path, len(labels))
        steps = np.array([index[one] for one in labels[: len(raw)]])
        content = sha256(f"{name} {sha256_of(truth)}")  # the features are gigabytes
        examples.append(Example(name, group_of(truth), raw[: len(steps)], steps, content))
    return Corpus(tuple(names), tuple(examples), rate_hz)


def _steps_first(path: Path, steps: int) -> Array:
    """Features (T, D), read from the disk when they are needed."""
    try:
        raw = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected the features of a video with labels: {error}") from None
    apart = [abs(size - steps) for size in raw.shape]
    if raw.ndim != 2 or min(apart) > MOST_APART:
        raise FileFormatError(path, "shape", expected=f"(D, {steps}) or ({steps}, D), a step per label", got=raw.shape)
    return np.asarray(raw if apart[0] < apart[1] else raw.T)


def folds(folder: Path, corpus: Corpus) -> dict[str, tuple[Corpus, Corpus]]:
    """Training and test halves of each splits/train.splitK.bundle and test.splitK.bundle, lists of names."""
    at, found = {one.name: row for row, one in enumerate(corpus.examples)}, {}
    for path in sorted((folder / "splits").glob("train.split*.bundle")):
        halves = []
        for half in (path, path.with_name(path.name.replace("train", "test"))):
            chosen = [Path(line.strip()).stem for line in half.read_text().split()] if half.is_file() else []
            if not chosen or (missing := [one for one in chosen if one not in at]):
                why = f"no labels of {', '.join(missing[:3])}" if chosen else "none"
                raise InputError(f"{half}: expected names of labeled videos, a line each, got {why}")
            halves.append(corpus.pick([at[one] for one in chosen]))
        found[path.stem.removeprefix("train.split")] = (halves[0], halves[1])
    return found

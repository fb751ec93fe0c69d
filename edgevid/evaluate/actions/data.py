"""Labeled sequences to learn from, and honest ways to split them: by source video, never by clip."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgevid.actions import skeleton
from edgevid.errors import FileFormatError, InputError
from edgevid.types import Array

VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".mpg", ".webm")


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of what an extractor saw."""

    name: str
    group: str
    """Scene it was filmed in: examples of one group never stand on both sides of a split."""
    raw: Array
    """(T, R) float32 rows of the extractor, oldest first."""
    labels: Array
    """(T,) class of each step; a clip has one class throughout."""

    @property
    def label(self) -> int:
        """The class of the last step (of the whole clip)."""
        return int(self.labels[-1])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Examples with their class names and how their rows are to be read."""

    names: tuple[str, ...]
    examples: tuple[Example, ...]
    rate_hz: float
    """Rows a second."""
    joints: str = ""
    """Joint set of skeleton rows; empty for plain features."""
    views: dict[str, tuple[Array, ...]] = field(default_factory=dict)
    """Augmented rows of examples by name, where features of augmented images were extracted."""

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def width(self) -> int:
        """Length of a step's features."""
        if self.joints:
            return skeleton.width_of(len(skeleton.JOINT_SETS[self.joints]))
        return int(self.examples[0].raw.shape[1])

    @property
    def labels(self) -> Array:
        """(N,) class of each example."""
        return np.array([e.label for e in self.examples], np.int64)

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """(..., T, D) features of rows (..., T, R) and which count: the very function of a live stream."""
        if self.joints:
            return skeleton.encode_rows(raw, valid)
        return np.where(valid[..., None], raw, 0).astype(np.float32), valid

    def pick(self, rows: Sequence[int] | Array) -> Corpus:
        """The same with some of the examples."""
        return replace(self, examples=tuple(self.examples[int(i)] for i in rows))


def check(corpus: Corpus, *, what: str = "training") -> Corpus:
    """The corpus, or an InputError that names what cannot be learned from."""
    if not len(corpus):
        raise InputError(f"{what} data: expected labeled examples, there are none")
    if len(corpus.names) < 2:
        raise InputError(f"{what} data: expected at least 2 classes, got only {corpus.names}")
    counts = np.bincount(corpus.labels, minlength=len(corpus.names))
    if what == "training" and counts.min() == 0:
        empty = [corpus.names[i] for i in np.flatnonzero(counts == 0)]
        raise InputError(f"{what} data: class {empty[0]!r} has no example; remove it or add clips of it")
    for example in corpus.examples:
        if not np.isfinite(example.raw).all():
            raise InputError(
                f"{what} data: the features of {example.name!r} hold NaN or infinity; extract them anew"
            )
        if not len(example.raw):
            raise InputError(
                f"{what} data: {example.name!r} has no step: the clip is empty or nothing was seen in it"
            )
    return corpus


def split_by_group(corpus: Corpus, share: float, *, seed: int = 0) -> tuple[Corpus, Corpus]:
    """(rest, held out): about `share` of the examples of every class, whole groups at a time.

    InputError where a class has one group only: nothing of it could be held out honestly.
    """
    if not 0 < share < 1:
        raise InputError(f"split: expected a share between 0 and 1, got {share}")
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    groups = sorted({e.group for e in corpus.examples})
    labels, group_of = corpus.labels, np.array([e.group for e in corpus.examples])
    for label, name in enumerate(corpus.names):
        mine = [g for g in groups if ((group_of == g) & (labels == label)).any()]
        if len(mine) < 2:
            raise InputError(
                f"split: class {name!r} comes from one video or scene only ({', '.join(mine) or 'none'}): "
                "training and test would see the same scene. Add clips from at least one more video, "
                "or name the groups in a CSV"
            )
        expected = share * float((labels == label).sum())
        taken = float(sum(((group_of == g) & (labels == label)).sum() for g in mine if g in held))
        free = [g for g in mine if g not in held]
        order = rng.permutation(len(free))
        for i in order[: len(free) - 1]:
            size = float(((group_of == free[i]) & (labels == label)).sum())
            if taken and taken + size / 2 > expected:
                continue
            held.add(free[i])
            taken += size
            if taken >= expected:
                break
    out = np.isin(group_of, sorted(held))
    return corpus.pick(np.flatnonzero(~out)), corpus.pick(np.flatnonzero(out))


@dataclass(frozen=True, slots=True)
class Listed:
    """A labeled video, before anything was looked at."""

    path: Path
    label: str
    group: str


def list_videos(data: Path) -> tuple[tuple[str, ...], list[Listed]]:
    """Class names and videos of a folder (one folder a class) or a CSV (path,label[,group])."""
    found = _from_csv(data) if data.suffix == ".csv" else _from_folders(data)
    names = tuple(sorted({v.label for v in found}))
    if len(names) < 2:
        raise InputError(f"{data}: expected at least 2 classes, found {list(names)}")
    return names, found


def group_of(path: Path) -> str:
    """The scene that a clip's name tells: UCF's gNN, else the name without its clip number.

    >>> group_of(Path("v_Punch_g03_c02.avi")), group_of(Path("gate_2026_7.mp4"))
    ('v_Punch_g03', 'gate_2026')
    """
    stem = path.stem
    if match := re.match(r"(.*_g\d+)_c\d+$", stem):
        return match[1]
    return re.sub(r"[_-]?\d+$", "", stem) or stem


def _from_folders(data: Path) -> list[Listed]:
    if not data.is_dir():
        raise InputError(
            f"{data}: expected a folder with one folder a class, a CSV, or skeleton files *_train_1.npz"
        )
    found: list[Listed] = []
    folders = sorted(p for p in data.iterdir() if p.is_dir() and not p.name.startswith("."))
    for folder in folders:
        videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        if not videos:
            raise InputError(f"{folder}: this class folder holds no video ({', '.join(VIDEO_SUFFIXES)})")
        found += [Listed(p, folder.name, group_of(p)) for p in videos]
    if not found:
        raise InputError(f"{data}: expected one folder a class, found none")
    return found


def _from_csv(path: Path) -> list[Listed]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"path", "label"} <= set(rows[0]):
        raise FileFormatError(
            path, "header", expected="path,label[,group]", got=list(rows[0]) if rows else None
        )
    found = []
    for line, row in enumerate(rows, 2):
        video = path.parent / row["path"]
        if not row["label"] or not video.is_file():
            raise FileFormatError(path, f"line {line}", expected="a label and an existing video", got=row)
        found.append(Listed(video, row["label"], row.get("group") or group_of(video)))
    return found


def official_splits(folder: Path) -> dict[str, tuple[Corpus, Corpus]]:
    """(train, test) of every pair *_train_K.npz and *_test_K.npz in a folder of skeleton files.

    Each holds `joints` (sum of T, J, 2), `offsets` (N + 1,) and `label` (N,); see docs/actions.md.
    """
    found = {}
    for train in sorted(folder.glob("*_train_*.npz")):
        test = train.with_name(train.name.replace("_train_", "_test_"))
        if not test.is_file():
            raise InputError(f"{train.name}: its test half {test.name} is missing beside it")
        names = tuple(sorted({str(s) for s in np.load(train)["label"]}))
        found[train.stem.rpartition("_")[2]] = (read_skeletons(train, names), read_skeletons(test, names))
    return found


def read_skeletons(path: Path, names: tuple[str, ...], *, rate_hz: float = 30.0) -> Corpus:
    """The sequences of one skeleton file; InputError for a label that is not among `names`."""
    data = np.load(path)
    if not {"joints", "offsets", "label"} <= set(data.files):
        raise FileFormatError(path, "arrays", expected="joints, offsets and label", got=data.files)
    joints, edges, labels = data["joints"], data["offsets"], [str(s) for s in data["label"]]
    kind = next((n for n, j in skeleton.JOINT_SETS.items() if len(j) == joints.shape[1]), "")
    if not kind or joints.shape[2:] != (2,):
        raise FileFormatError(path, "joints", expected="(T, 15 or 17, 2)", got=joints.shape)
    other = sorted(set(labels) - set(names))
    if other:
        raise InputError(f"{path}: classes {other} are unknown: the head knows {list(names)}")
    examples = []
    for i, label in enumerate(labels):
        part = joints[edges[i] : edges[i + 1]]
        rows = np.concatenate((part.reshape(len(part), -1), np.ones((len(part), 1))), axis=1)
        steps = np.full(len(part), names.index(label))
        examples.append(Example(f"{path.stem}#{i}", f"{path.stem}#{i}", rows.astype(np.float32), steps))
    return Corpus(names, tuple(examples), rate_hz, joints=kind)


def stitch(corpus: Corpus, count: int, *, seed: int, length: int = 6) -> Corpus:
    """`count` long sequences, each of `length` clips one after another: stitched, no natural video.

    Only to learn and to measure segmentation where no video is labeled step by step; say so beside
    every figure.
    """
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        parts = [corpus.examples[i] for i in rng.choice(len(corpus), length, replace=len(corpus) < length)]
        raw = np.concatenate([p.raw for p in parts])
        labels = np.concatenate([p.labels for p in parts])
        made.append(Example(f"stitched#{n}", f"stitched#{n}", raw, labels))
    return replace(corpus, examples=tuple(made))

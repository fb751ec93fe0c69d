"""Labeled sequences: videos by folder or CSV, skeleton files, and their preparation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.actions.features import JOINT_SETS, encode_rows, width_of
from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.items import read_items
from edgevid.evaluate.tune.score_files import read_arrays
from edgevid.files import sha256, sha256_of
from edgevid.types import Array

SKELETONS_HZ = 30.0  # Rows per second of skeleton files


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of an extractor's rows."""

    name: str
    group: str  # Its scene: a split keeps all examples of a group on one side
    raw: Array  # (T, R) float32 rows of the extractor, oldest first
    labels: Array  # (T,) class of each step; a clip has one class throughout
    content: str = ""  # SHA-256 of its file; empty: that of its rows tells it

    @property
    def label(self) -> int:
        """The class of the last step (of the whole clip)."""
        return int(self.labels[-1])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Examples with their class names and the format of their rows."""

    names: tuple[str, ...]
    examples: tuple[Example, ...]
    rate_hz: float  # Rows per second
    joints: str = ""  # Joint set of skeleton rows; empty for plain features
    augmentations: dict[str, tuple[Array, ...]] = field(default_factory=dict)
    """Rows of augmented images of examples, by name."""

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def width(self) -> int:
        """Length of a step's features."""
        if self.joints:
            return width_of(len(JOINT_SETS[self.joints]))
        return int(self.examples[0].raw.shape[1])

    @property
    def labels(self) -> Array:
        """(N,) class of each example."""
        return np.array([e.label for e in self.examples], np.int64)

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """(..., T, D) features of rows (..., T, R) and the valid steps, as for a live stream."""
        if self.joints:
            return encode_rows(raw, valid)
        return np.where(valid[..., None], raw, 0).astype(np.float32), valid

    def pick(self, rows: Sequence[int] | Array) -> Corpus:
        """The same corpus with some of the examples."""
        return replace(self, examples=tuple(self.examples[int(i)] for i in rows))


def check(corpus: Corpus, *, what: str = "training") -> Corpus:
    """The corpus, or an InputError that names the unusable part."""
    if not len(corpus):
        raise InputError(f"{what} data: expected labeled examples, got none")
    if len(corpus.names) < 2:
        raise InputError(f"{what} data: expected at least 2 classes, got only {corpus.names}")
    counts = np.bincount(corpus.labels, minlength=len(corpus.names))
    if what == "training" and counts.min() == 0:
        empty = [corpus.names[i] for i in np.flatnonzero(counts == 0)]
        raise InputError(f"{what} data: class {empty[0]!r} has no example; remove it or add clips of it")
    for example in corpus.examples:
        if not np.isfinite(example.raw).all():
            raise InputError(f"{what} data: {example.name!r} holds NaN or infinity; extract it again")
        if not len(example.raw):
            raise InputError(f"{what} data: {example.name!r} has no steps: nothing was detected in it")
    return corpus


class LabeledVideo(NamedTuple):
    """A labeled video."""

    path: Path
    label: str
    group: str

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)


def marks_of(one: Example | LabeledVideo) -> set[str]:
    """Short hashes of a clip's content and of its scene's name, by which a recipe knows what it was trained on."""
    known = sha256_of(one.path) if isinstance(one, LabeledVideo) else one.content
    content = known or sha256(np.ascontiguousarray(one.raw))  # type: ignore[union-attr]
    return {content[:12], sha256(f"scene {one.group}")[:12]}


def list_videos(data: Path, attribute: str = "", group: str = "") -> tuple[tuple[str, ...], list[LabeledVideo]]:
    """Class names and videos of a folder (one folder per class) or a CSV (path,label[,group]). With `attribute`, those
    that its column labels; a `group` is "file" (each alone) or one of the known columns, such as "camera". InputError
    for a class without a file, and a line without a label or file."""
    items, left_out = read_items(data)
    if bad := next((one for one in left_out if not Path(one[0]).is_file()), None):
        raise InputError(f"{bad[0]}: {bad[1]}")
    items = [one for one in items if not attribute or attribute in one.labels]
    key, group = attribute or "label", group or "group"
    if lacking := next((one.path for one in items if key not in one.labels), None):
        raise InputError(f"{data}: expected a class of each file, in a folder of its name or a column label: {lacking}")
    groups = [str(one.path) if group == "file" else getattr(one, group, "") for one in items]
    if not all(groups):
        raise InputError(
            f"{data}: expected a {group!r} of each file to group by: known are group, camera, day and file"
        )
    found = [LabeledVideo(one.path, one.labels[key], name) for one, name in zip(items, groups, strict=True)]
    names = tuple(sorted({v.label for v in found}))
    if len(names) < 2:
        raise InputError(f"{data}: expected at least 2 classes, found {list(names)}")
    return names, found


def read_skeletons(path: Path, names: tuple[str, ...]) -> Corpus:
    """The sequences of one skeleton file; InputError for a label that is not among `names`."""
    data = read_arrays(path)
    if not {"joints", "offsets", "label"} <= data.keys():
        raise FileFormatError(path, "arrays", expected="joints, offsets and label", got=sorted(data))
    joints, edges, labels = data["joints"], data["offsets"], [str(s) for s in data["label"]]
    kind = next((n for n, j in JOINT_SETS.items() if joints.shape[1:] == (len(j), 2)), "")
    if not kind:
        raise FileFormatError(path, "joints", expected="(T, 15 or 17, 2)", got=joints.shape)
    other = sorted(set(labels) - set(names))
    if other:
        raise InputError(f"{path}: expected classes of the head, {list(names)}, got also {other}")
    examples = []
    for i, label in enumerate(labels):
        part = joints[edges[i] : edges[i + 1]]
        rows = np.concatenate((part.reshape(len(part), -1), np.ones((len(part), 1))), axis=1)
        steps = np.full(len(part), names.index(label))
        examples.append(Example(f"{path.stem}#{i}", f"{path.stem}#{i}", rows.astype(np.float32), steps))
    return Corpus(names, tuple(examples), SKELETONS_HZ, joints=kind)


def concatenate(corpus: Corpus, count: int, *, seed: int, length: int = 6) -> Corpus:
    """`count` long sequences, each of `length` clips one after another, unlike natural videos. Only for training and
    evaluating segmentation without videos that are labeled step by step; state so next to every figure."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        parts = [corpus.examples[i] for i in rng.choice(len(corpus), length, replace=len(corpus) < length)]
        raw = np.concatenate([p.raw for p in parts])
        labels = np.concatenate([p.labels for p in parts])
        made.append(Example(f"sequence#{n}", f"sequence#{n}", raw, labels))
    return replace(corpus, examples=tuple(made))


def resample(raw: Array, step: float, start: float = 0.0, end: float | None = None) -> Array:
    """Rows (T, R) at start, start + step, ... up to `end` (default the last), linearly between rows.

    >>> resample(np.arange(5.0)[:, None], 2.0).ravel().tolist()
    [0.0, 2.0, 4.0]
    """
    last = len(raw) - 1
    at = np.arange(start, (last if end is None else end) + 1e-6, step)
    low = np.minimum(at.astype(np.int64), last)
    high = np.minimum(low + 1, last)
    share = (at - low)[:, None]
    return np.asarray((raw[low] * (1 - share) + raw[high] * share).astype(np.float32))

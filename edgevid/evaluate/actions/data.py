"""Labeled sequences: videos by folder or CSV, skeleton files, and their preparation."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.actions.features import encode, width_of
from edgevid.actions.layout import JointLayout, find_layout
from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.items import read_items
from edgevid.evaluate.tune.score_files import read_arrays
from edgevid.files import read_toml, sha256, sha256_of
from edgevid.files.arrays import DAMAGED, check_unpacked
from edgevid.types import Array

MOST_TEXT = 1 << 28  # Bytes of the skeletons of MSRAction3D, unpacked
SKELETONS_HZ = 30.0  # Rows per second of skeleton files
MSRACTION3D = Path(__file__).with_name("msraction3d.toml")  # Its joints in the order of its files, and its actions


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
    layout: JointLayout | None = None  # Of the rows of skeletons; None for plain features
    augmentations: dict[str, tuple[Array, ...]] = field(default_factory=dict)  # Rows of augmented images by example

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def width(self) -> int:
        """Length of a step's features."""
        if self.layout:
            return width_of(self.layout)
        return int(self.examples[0].raw.shape[1])

    @property
    def labels(self) -> Array:
        """(N,) class of each example."""
        return np.array([e.label for e in self.examples], np.int64)

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """(..., T, D) features of rows (..., T, R) and the valid steps, as for a live stream."""
        if self.layout:
            return encode(raw, valid, self.layout)
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
    known = np.unique(np.concatenate([e.labels for e in corpus.examples]))
    if what == "training" and len(known) < len(corpus.names):
        empty = [name for i, name in enumerate(corpus.names) if i not in known]
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
        raise InputError(f"{data}: expected a {group!r} of each file to group by: known are group, camera, day and "
                         "file")  # fmt: skip
    found = [LabeledVideo(one.path, one.labels[key], name) for one, name in zip(items, groups, strict=True)]
    names = tuple(sorted({v.label for v in found}))
    if len(names) < 2:
        raise InputError(f"{data}: expected at least 2 classes, found {list(names)}")
    return names, found


def read_skeletons(path: Path, names: Sequence[str] = (), layout: JointLayout | str | Path = "") -> Corpus:
    """The sequences of one skeleton file, at `SKELETONS_HZ`: `joints` (sum of T, J, 2 or 3), `offsets` (N + 1,),
    `label` (N,), and optional `confidence` (sum of T, J), `times` (sum of T,) in seconds and `group` (N,), its scene or
    subject. InputError for a label that is not among `names`, which are all of the file's where none are given."""
    data = read_arrays(path)
    if not {"joints", "offsets", "label"} <= data.keys():
        raise FileFormatError(path, "arrays", expected="joints, offsets and label", got=sorted(data))
    joints, edges, labels = data["joints"], data["offsets"], [str(s) for s in data["label"]]
    if joints.ndim != 3 or len(edges) != len(labels) + 1 or edges[-1] != len(joints):
        expected = f"joints (T, J, 2 or 3) and {len(labels) + 1} offsets, the last one T"
        raise FileFormatError(path, "joints", expected=expected, got=f"{joints.shape} and {edges.tolist()[-3:]}")
    found = find_layout(layout, joints=joints.shape[1], dims=joints.shape[2])
    names = tuple(names or sorted(set(labels)))
    if other := sorted(set(labels) - set(names)):
        raise InputError(f"{path}: expected classes of the head, {list(names)}, got also {other}")
    examples, sure, times = [], data.get("confidence"), data.get("times")
    for i, label in enumerate(labels):
        part = slice(int(edges[i]), int(edges[i + 1]))
        seen = np.asarray(np.isfinite(joints[part]).all(-1))
        last = np.maximum.accumulate(np.where(seen, np.arange(len(seen))[:, None], 0))  # a joint that is lost stays
        points = joints[part][last, np.arange(joints.shape[1])]
        rows = found.rows(points, seen if sure is None else seen * sure[part])
        if times is not None:
            rows = _at_rate(rows, times[part], f"{path}: sequence {i}")
        name = f"{path.stem}#{i}"
        group = str(data["group"][i]) if "group" in data else name
        examples.append(Example(name, group, rows, np.full(len(rows), names.index(label))))
    return Corpus(names, tuple(examples), SKELETONS_HZ, layout=found)


def read_msraction3d(path: Path) -> Corpus:
    """The sequences of a zip of MSRAction3D (W. Li, Z. Zhang and Z. Liu, "Action Recognition Based on a Bag of 3D
    Points", 2010): texts aAA_sSS_eEE_skeleton3D.txt, those that its list of used files names where it has one. An empty
    step is no skeleton; a group is a subject. FileFormatError for another zip."""
    layout, known, found = find_layout("kinect-20", dims=3), read_toml(MSRACTION3D), dict[str, Array]()
    order = [known["joints"].index(name) for name in layout.joints]
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(archive, MOST_TEXT)
            files = archive.namelist()
            lists = [archive.read(one).decode().split() for one in files if re.search(r"files_used[^/]*\.txt$", one)]
            for file in files:
                name = re.search(r"a(0[1-9]|1\d|20)_s\d\d_e\d\d(?=_skeleton3D\.txt$)", file)
                if name and (not lists or name[0] in lists[0]):
                    points = np.loadtxt(io.BytesIO(archive.read(file)), ndmin=2).reshape(-1, 20, 4)[:, order, :3]
                    found[name[0]] = layout.rows(np.where((points == 0).all((1, 2), keepdims=True), np.nan, points))
        if not found:
            raise ValueError(", ".join(files[:3]) or "no files")
    except (OSError, ValueError, *DAMAGED) as error:
        expected = "a01_s01_e01_skeleton3D.txt ... of MSRAction3D, 20 joints of 4 values a step; make other skeletons "
        expected += "an NPZ: docs/actions.md#skeletons"
        raise FileFormatError(path, "the skeletons", expected=expected, got=error) from None
    actions, labels = np.unique([int(name[1:3]) - 1 for name in found], return_inverse=True)
    examples = (Example(name, f"subject {int(name[5:7])}", rows, np.full(len(rows), label))
                for (name, rows), label in zip(found.items(), labels.tolist(), strict=True))  # fmt: skip
    return Corpus(tuple(known["actions"][n] for n in actions), tuple(examples), SKELETONS_HZ, layout=layout)


def read_poses(data: Path, layout: JointLayout | str | Path = "") -> Corpus | None:
    """The skeletons of an NPZ as of `read_skeletons`, with all of its classes, or of a zip as of `read_msraction3d`;
    None for other data."""
    if data.suffix == ".zip":
        return read_msraction3d(data)
    return read_skeletons(data, layout=layout) if data.suffix == ".npz" else None


def _at_rate(rows: Array, times: Array, name: str) -> Array:
    """Rows (T, R) of `times` (T,) in seconds, at `SKELETONS_HZ`; InputError for times that do not rise."""
    if len(times) != len(rows) or not (np.diff(times) > 0).all():
        raise InputError(f"{name}: expected {len(rows)} rising times in seconds, got {len(times)} that are not")
    moments = np.arange(times[0], times[-1] + 1e-6, 1 / SKELETONS_HZ)
    return rows_at(rows, np.interp(moments, times, np.arange(len(times))))


def resample(raw: Array, step: float) -> Array:
    """Rows (T, R) at 0, step, 2 step ... up to the last, linearly between rows.

    >>> resample(np.arange(5.0)[:, None], 2.0).ravel().tolist()
    [0.0, 2.0, 4.0]
    """
    return rows_at(raw, np.arange(0, len(raw) - 1 + 1e-6, step))


def rows_at(raw: Array, at: Array) -> Array:
    """Rows (T, R) at fractional indices (T,), linearly between rows."""
    low = np.minimum(at.astype(np.int64), len(raw) - 1)
    high = np.minimum(low + 1, len(raw) - 1)
    share = (at - low)[:, None]
    return np.asarray((raw[low] * (1 - share) + raw[high] * share).astype(np.float32))

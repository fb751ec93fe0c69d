"""Boxes of images and frames: MOTChallenge and KITTI tracks, COCO JSON, YOLO folders and records of edgevid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.evaluate.items import group_of
from edgevid.output.records import read_jsonl
from edgevid.types import F64, Array

TRUE, MATCHED, ABSENT, AREA = range(4)
"""Roles of a true box: it counts; what matches it counts neither way; it only takes part in that matching; what
lies in it by more than half of its own area counts neither way (a crowd, KITTI's DontCare)."""
ALIASES = {"pedestrian": "person"}
SIMILAR = {"person": "person", "person_sitting": "person", "van": "car"}
"""KITTI's true vans and sitting persons, and the class whose boxes count neither way where they match them."""
MOT_IGNORED = (2, 7, 8, 12)  # MOTChallenge: person on vehicle, static person, distractor, reflection
KITTI_HEIGHT = 25.0  # KITTI: unmatched boxes up to this height in pixels count neither way


class Box(NamedTuple):
    """One box; `key` is the frame's number or the image's name."""

    sequence: str
    key: int | str
    name: str
    box: tuple[float, ...]
    score: float = 1.0
    id: int = -1
    role: int = TRUE


@dataclass(frozen=True, slots=True)
class BoxTable:
    """Boxes of F frames; row i of all columns is one box."""

    names: tuple[str, ...]  # Class names in lower case; one, "", where the format has none
    frames: tuple[tuple[str, int | str], ...]  # Sequence, and number or name, of every frame
    frame: Array  # (N,) index into `frames`
    labels: Array  # (N,) index into `names`
    boxes: Array  # (N, 4) float64 x1, y1, x2, y2, in pixels or in shares of the image
    scores: Array
    ids: Array
    roles: Array
    min_height: float = 0.0

    def __getitem__(self, rows: Array) -> BoxTable:
        columns = {name: getattr(self, name)[rows] for name in ("frame", "labels", "boxes", "scores", "ids", "roles")}
        return replace(self, **columns)

    def by_frame(self) -> list[Array]:
        """The rows of each frame."""
        order = np.argsort(self.frame, kind="stable")
        return np.split(order, np.searchsorted(self.frame[order], np.arange(1, len(self.frames))))

    @classmethod
    def of(cls, rows: Iterable[Box], frames: Iterable[tuple[str, int | str]] = (), min_height: float = 0.0) -> BoxTable:
        """From boxes, and the frames that may have none."""
        rows = list(rows)
        places = {one: n for n, one in enumerate(dict.fromkeys([*frames, *((r.sequence, r.key) for r in rows)]))}
        texts = [ALIASES.get(name := r.name.lower(), name) for r in rows]
        names = {name: n for n, name in enumerate(dict.fromkeys(texts))}
        return cls(
            tuple(names), tuple(places), np.array([places[r.sequence, r.key] for r in rows], np.int64),
            np.array([names[text] for text in texts], np.int64),
            np.array([r.box for r in rows], np.float64).reshape(-1, 4), np.array([r.score for r in rows], np.float64),
            np.array([r.id for r in rows], np.int64), np.array([r.role for r in rows], np.int64), min_height,
        )  # fmt: skip


MOST_FRAMES = 1 << 23  # Of a clip: 77 hours at 30 fps
Ids = tuple[dict[int, str], dict[int, tuple[str, int | str]]]  # COCO's class names and images by id; results have none


def read_boxes(path: Path, ids: Ids = ({}, {})) -> tuple[BoxTable, Ids]:
    """The boxes of a file or folder, and the ids of COCO; those of the truth are for its results. SourceError,
    FileFormatError or InputError for what cannot be read."""
    inner = [path / name for name in ("annotations.json", "labels") if (path / name).exists()]
    path = inner[0] if inner else path
    files = sorted(p for p in path.iterdir() if p.suffix in (".txt", ".jsonl")) if path.is_dir() else [path]
    named = [(one, one.stem) for one in files] or [(one, one.parts[-3]) for one in sorted(path.glob("*/gt/gt.txt"))]
    if not named:
        raise InputError(f"{path}: expected *.txt (MOT, KITTI, YOLO) or *.jsonl files in this folder, got none")
    try:
        if path.suffix == ".json":
            return _coco(path, ids)
        if named[0][0].suffix == ".txt":
            return _texts(path, named), ids
        rows = [row for one, name in named for row in _records(one, name)]
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}; check the path") from None
    except (ValueError, KeyError, TypeError, IndexError, ArithmeticError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        expected = "boxes of MOTChallenge, KITTI, YOLO, COCO or edgevid"
        raise FileFormatError(path, "the whole file", expected=expected, got=f"{error}") from None
    return BoxTable.of((r for r in rows if r.box), ((r.sequence, r.key) for r in rows)), ids


def _records(path: Path, name: str) -> Iterator[Box]:
    """The objects that were detected (or interpolated) in each frame; a row without a box for a frame."""
    for one in read_jsonl(path):
        yield Box(name, one["frame"], "", ())
        for item in one["objects"]:
            if item.get("detected", True) or item.get("interpolated"):
                yield Box(name, one["frame"], item["class"], tuple(item["box"]), item["score"], item["id"])


def _coco(path: Path, ids: Ids) -> tuple[BoxTable, Ids]:
    read = json.loads(path.read_bytes())
    if isinstance(read, list):
        read = {"annotations": read}
    categories = {one["id"]: one["name"] for one in read.get("categories", ())} or ids[0]
    known = sorted(read.get("images", ()), key=lambda one: one["id"])
    images = {one["id"]: _image(one["file_name"]) for one in known} or ids[1]
    if len(set(images.values())) < len(images):
        raise FileFormatError(path, "images", expected="names that differ", got="the same name twice")
    rows = [
        Box(images.get(i := one["image_id"], ("", i))[0], images.get(i, ("", i))[1],
            categories.get(kind := one["category_id"], str(kind)), (x, y, x + w, y + h),
            one.get("score", 1.0), one.get("track_id", -1),
            AREA if one.get("iscrowd") else MATCHED if one.get("ignore") else TRUE)
        for one in read["annotations"] for x, y, w, h in [one["bbox"]]
    ]  # fmt: skip
    return BoxTable.of(rows, images.values()), (categories, images)


def _image(name: str) -> tuple[str, int | str]:
    """Clip and number of an image, else its name."""
    path = Path(name)
    digits = re.search(r"\d+$", path.stem)
    return str(path.parent / group_of(path)), int(digits[0]) if digits else path.stem


def _texts(path: Path, files: list[tuple[Path, str]]) -> BoxTable:
    texts = [(name, one.read_text(encoding="utf-8-sig")) for one, name in files]
    known = {name: ini.read_text() for one, name in files if (ini := one.parent.parent / "seqinfo.ini").is_file()}
    first = next((line for _, text in texts for line in text.splitlines() if line.strip()), "")
    if "," not in first and len(first.split()) < 15:
        return _yolo(path, texts)
    kitti, rows, frames = "," not in first, [], []
    for name, text in texts:
        lines = [line.split(None if kitti else ",") for line in text.splitlines() if line.strip()]
        found = [_kitti(name, w) if kitti else _mot(name, [float(v) for v in w]) for w in lines]
        rows += found
        length = re.search(r"seqLength *= *(\d+)", known.get(name, ""))
        last = int(length[1]) if length else max((int(r.key) for r in found), default=-1) + 1
        if last > MOST_FRAMES:
            raise ValueError(f"{last:,} frames, expected {MOST_FRAMES:,} at most")
        frames += [(name, n) for n in range(last)]
    return BoxTable.of(rows, frames, KITTI_HEIGHT if kitti else 0.0)


def _mot(name: str, v: list[float]) -> Box:
    kind = int(v[7]) if len(v) > 7 else -1
    role = TRUE if kind < 1 or (kind == 1 and v[6]) else MATCHED if kind in MOT_IGNORED else ABSENT
    box = v[2], v[3], v[2] + v[4], v[3] + v[5]
    return Box(name, int(v[0]) - 1, "person" if kind > 0 else "", box, v[6], int(v[1]), role)


def _kitti(name: str, w: list[str]) -> Box:
    kind, found, hidden = w[2].lower(), len(w) > 17, float(w[3]) > 0 or float(w[4]) > 2
    neither = not found and (kind in SIMILAR or hidden)
    role, score = AREA if kind == "dontcare" else MATCHED if neither else TRUE, float(w[17]) if found else 1.0
    kind = kind if found else SIMILAR.get(kind, kind)
    return Box(name, int(w[0]), kind, tuple(map(float, w[6:10])), score, int(w[1]), role)


def _yolo(path: Path, texts: list[tuple[str, str]]) -> BoxTable:
    names: list[str] = []
    for file in (path / "data.yaml", path.parent / "data.yaml", path / "classes.txt", path.parent / "classes.txt"):
        if file.is_file() and not names:
            text = file.read_text(encoding="utf-8-sig")
            listed = re.search(r"names:\s*\[([^][]*)\]", text)
            names = (listed[1].split(",") if listed else re.findall(r"^[^\S\n]+\d+: *(.+)$", text, re.MULTILINE)
                     if file.suffix == ".yaml" else text.splitlines())  # fmt: skip
    rows, frames = [], []
    for stem, text in texts:
        if stem == "classes":
            continue
        frames.append(_image(stem))
        for line in text.splitlines():
            label, x, y, w, h, *rest = map(float, line.split())
            name = names[int(label)].strip(" \"'") if int(label) < len(names) else str(int(label))
            box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            rows.append(Box(*frames[-1], name, box, rest[0] if rest else 1.0))
    return BoxTable.of(rows, frames)


def aligned(truth: BoxTable, found: BoxTable, classes: tuple[str, ...] = ()) -> tuple[BoxTable, BoxTable, list[str]]:
    """Truth and results with the truth's frames and classes, and notes on results that have no truth. InputError where
    no frame or no class is in both. Areas have the label -1: they are of all classes."""
    plain = min(len({s for s, _ in one.frames}) for one in (truth, found)) < 2
    truth, found = (replace(t, frames=tuple(("" if plain else s, k) for s, k in t.frames)) for t in (truth, found))
    places = {one: n for n, one in enumerate(truth.frames)}
    if len(places) < len(truth.frames):
        raise InputError("results: expected them by sequence, as the truth is, got one sequence")
    frames = np.array([places.get(one, -1) for one in found.frames], int)
    if len(found.frame) and frames[found.frame].max() < 0:
        first, second = (", ".join(f"{s} {k}".strip() for s, k in one.frames[:3]) for one in (truth, found))
        raise InputError(f"results: no frame has a truth; the truth is of {first}, ..., the results of {second}, ...")
    if "" in (*truth.names, *found.names):  # a format without class names
        truth, found = (replace(one, names=("object",), labels=0 * one.labels) for one in (truth, found))
    known = [name for name in truth.names if name != "dontcare"]
    if unknown := [name for name in classes if name not in known]:
        raise InputError(f"--classes: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    names = tuple(classes or known)
    if found.names and not set(names) & set(found.names):
        raise InputError(f"results: expected classes of the truth, {', '.join(names)}, got {', '.join(found.names)}")
    label_of = {name: n for n, name in enumerate(names)}
    truth, found = (replace(one, labels=np.array([label_of.get(name, -1) for name in one.names], int)[one.labels])
                    for one in (truth, found))  # fmt: skip
    other, beyond = found.labels < 0, frames[found.frame] < 0 if len(frames) else found.labels < 0
    notes = [f"{count} boxes {why}: not scored" for count, why in (
        (int(other.sum()), f"of classes without truth ({', '.join(n for n in found.names if n not in names)})"),
        (int((beyond & ~other).sum()), "on frames without truth")) if count]  # fmt: skip
    if missing := [name for name in names if found.names and name not in found.names]:
        notes.append(f"no result is of {', '.join(missing)}: all of theirs are missed; --classes leaves them out")
    found = replace(found, names=names, frames=truth.frames, frame=frames[found.frame] if len(frames) else found.frame)
    return replace(truth, names=names)[(truth.labels >= 0) | (truth.roles == AREA)], found[~other & ~beyond], notes


def overlaps(a: Array, b: Array, of_first: bool | Array = False) -> F64:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4); over the first one's own area where `of_first`."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    inter = (high - low).clip(0).prod(-1)
    area_a, area_b = ((x[:, 2:4] - x[:, :2]).prod(1) for x in (a, b))
    whole = area_a[:, None] + np.where(of_first, 0, area_b - inter)
    return np.asarray(inter / np.maximum(whole, 1e-12), np.float64)

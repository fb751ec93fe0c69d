"""What labeled data hold, before a model is trained on them: counts, sizes, balance, near-duplicates, contradictory
labels and leaks between splits. Near-duplicates are found by a perceptual hash: the signs of the low frequencies of a
discrete cosine transform (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions")."""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, InputError, SourceError
from edgevid.evaluate.evaluation import Evaluation, Table, Thumb
from edgevid.evaluate.items import Item, LeftOut
from edgevid.files import sha256_of
from edgevid.types import U8, Array
from edgevid.video.images import resize_area, thumbnail
from edgevid.video.open import open_video

SIDE, LOW = 32, 8  # Pixels of an image before its transform, and frequencies along each axis that are kept
NEAR = 0.15  # Near-duplicates differ in at most this share of the signs; unrelated photos in 0.29 and more
SAME_GRAY = 10.0  # and, at 8x8 pixels, by at most so many gray levels in the mean
MOMENTS = (0.25, 0.5, 0.75)  # Of a video, in shares of its length
BLOCK = 512  # Items that are compared with all others at a time
LISTED, CLUSTERS = 40, 16
DAY = re.compile(r"(?<!\d)(20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
CAMERA = re.compile(r"(?i)(?<![a-z])cam(?:era)?[-_]?[a-z]?\d+")
COSINES = np.cos(np.pi / SIDE * np.arange(LOW)[:, None] * (np.arange(SIDE) + 0.5))


def describe(items: Iterable[Item], left_out: Iterable[LeftOut] = (), *,
             progress: Callable[[], None] = lambda: None) -> Evaluation:  # fmt: skip
    """What is found in items, each of which is read once. `notes` are sentences on what may spoil a training, the worst
    first; `values` count it by kind, and `tables` list it by the same names. None of it is an error. Items without a
    `split` are compared across groups, by which a training splits them. InputError where no file can be read."""
    base, kept, looks = sqlite3.connect(":memory:"), list[Item](), list[Any]()
    base.executescript(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
    base.executemany("INSERT INTO left_out VALUES (?, ?)", left_out)
    for item in items:
        progress()
        try:
            *size, seconds, signs, thumb = _look(item.path)
        except (EdgevidError, OSError) as error:
            base.execute("INSERT INTO left_out VALUES (?, ?)", (str(item.path), f"cannot be read: {error}"))
            continue
        path, row = str(item.path), len(kept)
        camera, day = item.camera or _part(CAMERA, path), item.day or _part(DAY, path)
        values = (row, path, item.group, item.split, camera, day, *size, seconds, sha256_of(item.path))
        base.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        base.executemany("INSERT INTO classes VALUES (?, ?, ?, ?)", ((row, *one) for one in classes_of(item)))
        kept.append(item)
        looks.append((signs, thumb, {} if seconds else item.labels))  # videos of one scene look the same
    if not kept:
        raise InputError("data: expected images or videos that can be read, got none")
    hashes, thumbs = (np.array(column) for column in list(zip(*looks, strict=True))[:2])
    split = any(one.split for one in kept)
    sides = [{"side": one.split if split else one.group} for one in kept]
    for kind, rows in (("contradictory", [labels for *_, labels in looks]), ("near-duplicates", sides)):
        twins = enumerate(_twins(hashes, thumbs, _codes(rows)).tolist())
        base.executemany("INSERT INTO twins VALUES (?, ?, ?)", [(kind, row, twin) for row, twin in twins if twin >= 0])
    return _evaluation(base, len(kept), clusters(kept, thumbs))


def _evaluation(base: sqlite3.Connection, count: int, thumbs: Sequence[Thumb]) -> Evaluation:
    heads = ("class", "count", "share %", "groups", "shorter side px", "seconds")
    classes, sizes = (base.execute(f"SELECT * FROM by_{name}").fetchall() for name in ("class", "size"))
    tables = {"classes": Table(heads, classes), "sizes": Table(("pixels", "count"), sizes, detail=True)}
    for (kind,) in base.execute("SELECT kind FROM kinds").fetchall():
        rows = base.execute("SELECT what, other FROM found WHERE kind = ?", (kind,)).fetchall()
        tables[kind] = Table(("what", "with or why"), rows, detail=True)
    values = {"items": count} | {name: len(one.rows) for name, one in tables.items()}
    tables = {name: one._replace(rows=one.rows[:LISTED]) for name, one in tables.items()}
    notes = [text for (text,) in base.execute("SELECT text FROM notes")]
    return Evaluation("data", ["all"], "data set", lambda _: values, dict.fromkeys(values, ""), tables=tables,
                      images={"clusters of similar images": thumbs}, notes=notes)  # fmt: skip


def clusters(items: Sequence[Item], thumbs: Array) -> list[Thumb]:
    """Similar items, by k-means of their thumbs (N, 8, 8, 3): the image nearest to each center, its place on the first
    two principal components, the number of items and their commonest classes."""
    pixels = thumbs.reshape(len(items), -1).astype(float)
    u, s, _ = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    points = np.pad((u * s)[:, :LOW], ((0, 0), (0, 1)))
    centers = points[np.random.default_rng(0).permutation(len(points))[:CLUSTERS]]
    for _ in range(20):
        apart = np.square(points[:, None] - centers).sum(-1)
        nearest = apart.argmin(1)
        kept = np.unique(nearest)
        centers = np.array([points[nearest == k].mean(0) for k in kept])
    places, found = (centers - centers.min(0)) / np.maximum(np.ptp(centers, axis=0), 1e-9), []
    for k, (x, y, *_) in zip(kept.tolist(), places.tolist(), strict=True):
        own = np.flatnonzero(nearest == k).tolist()
        names = Counter(name for row in own for name, *_ in classes_of(items[row])).most_common(3)
        words = f"{len(own)}: {', '.join(f'{name} {count}' for name, count in names)}"
        image = _frames(items[own[int(apart[own, k].argmin())]].path)[0][0]
        found.append(Thumb(words, thumbnail(image, 96), x, y))
    return found


def classes_of(item: Item) -> list[tuple[str, float, float]]:
    """The classes of an item, with width and height in pixels or shares of the image: those of its boxes, or its labels
    with their attribute, unless that is "label"."""
    labels = item.labels.items()
    boxes = ((name, right - left, bottom - top) for name, left, top, right, bottom, weight in item.boxes if weight > 0)
    return [*boxes, *((value if name == "label" else f"{name}: {value}", 1.0, 1.0) for name, value in labels)]


def _part(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return re.sub(r"[-_.]", "", found[0]).lower() if found else ""


def _frames(path: Path) -> tuple[list[U8], float]:
    """Images of a video at MOMENTS, and its seconds; one of an image."""
    found = list[U8]()
    with open_video(path) as video:
        seconds = getattr(video, "duration", None) or 0.0
        for frame in video:
            if frame.time >= MOMENTS[len(found)] * seconds:
                found.append(frame.image)
            if len(found) == (len(MOMENTS) if seconds else 1):
                return found, seconds
    if not found:
        raise SourceError(f"{path}: expected frames, got none")
    return found, seconds


def _look(path: Path) -> tuple[Any, ...]:
    """Width, height, seconds, signs of the low frequencies (M,), and an 8x8 image."""
    images, seconds = _frames(path)
    small = np.array([resize_area(image, (SIDE, SIDE)) for image in images])
    low = (COSINES @ small.mean(-1) @ COSINES.T).reshape(len(images), -1)[:, 1:]
    signs = np.where(low > np.median(low, axis=1, keepdims=True), 1, -1).astype(np.int8)
    eight = small.mean(0).reshape(LOW, SIDE // LOW, LOW, SIDE // LOW, 3).mean((1, 3)).astype(np.uint8)
    height, width, _ = images[0].shape
    return width, height, seconds, np.resize(signs, (len(MOMENTS), signs.shape[1])).ravel(), eight


def _codes(rows: Sequence[Mapping[str, str]]) -> Array:
    """(A, N) a number for each value of each key, -1 where it has none."""
    known: dict[tuple[str, str], int] = {}
    keys = sorted({key for row in rows for key in row})
    return np.array([[known.setdefault((key, one[key]), len(known)) if key in one else -1 for one in rows]
                     for key in keys])  # fmt: skip


def _twins(signs: Array, thumbs: Array, codes: Array) -> Array:
    """(N,) the nearest near-duplicate of each item among those that differ in some known code (A, N); -1: none."""
    whole, found = signs.astype(np.float32), np.full(len(signs), -1)
    for start in range(0, len(signs), BLOCK):
        rows = slice(start, start + BLOCK)
        apart, other = (1 - whole[rows] @ whole.T / signs.shape[1]) / 2, np.zeros((len(signs[rows]), len(signs)), bool)
        for code in codes:
            other |= (code[rows, None] != code) & (code[rows, None] >= 0) & (code >= 0)
        apart[~other] = 1
        best = apart.argmin(1)
        near = apart[np.arange(len(best)), best] <= NEAR
        near &= np.abs(thumbs[rows].astype(int) - thumbs[best]).mean((1, 2, 3)) <= SAME_GRAY
        found[rows][near] = best[near]
    return found

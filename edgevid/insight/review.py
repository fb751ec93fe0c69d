"""Review: verdicts that people decide, their decisions in a database, what an audit certifies, and exports. What is
shown and counted is selected by review.sql."""

import json
import math
import os
import re
import sqlite3
import threading
import time as clock
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.evaluate.tune.risk import upper_bound
from edgevid.files.atomic import atomic_path, make_folder, write_atomic
from edgevid.files.cells import csv_text
from edgevid.output.review import draw
from edgevid.output.tables import BUSY_S, database_errors, read_database
from edgevid.types import Array, Closing, utc_text
from edgevid.video.images import read_image, resize_area
from edgevid.video.writer import VideoWriter

SCHEMA, ITEMS, EVENTS = (Path(__file__).with_name(f"review{end}.sql").read_text() for end in ("", "_items", "_events"))
ALIKE, MOST_ALIKE, SIDE = 0.95, 12, 16
"""Correlation of look-alikes at so many pixels a side, and the size of a group that fits on a screen."""


class Review(Closing):
    """A folder of `--save-abstained`, or a database of events, and the decisions on its verdicts. Several reviewers and
    programs may decide at once; a decision is on the disk when `decide` returns."""

    def __init__(self, source: str | Path, *, rate: float = 0.05, camera: str = "", after: str = "",
                 later: bool = False) -> None:  # fmt: skip
        """Of a `camera`, and from a time (ISO 8601) on, where given; of a database's emitted verdicts, those drawn
        with the probability `rate` are the audit sample. `later`: a folder, which may be empty still, is read by
        `scan`. SourceError where a file cannot be used, InputError where there is nothing to review."""
        self.source, self._lock, self._known = Path(source), threading.RLock(), set[str]()
        found = list[tuple[str, str]]()
        if self.source.is_dir():
            self.folder, self.path = self.source, self.source / "review.db"
        else:
            self.folder, self.path = self.source.parent, self.source.with_name(f"{self.source.stem}-review.db")
            found = [(row["id"], json.dumps(row)) for row in read_database(source, EVENTS)]
        self._chosen = {"camera": camera, "after": after, "rate": 0.0 if self.source.is_dir() else rate}
        with database_errors(self.path):
            self._base = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
            self._base.row_factory = sqlite3.Row
            self._base.create_function("draw", 1, draw)
            begin = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE;"
            self._base.executescript(f"{begin} {SCHEMA} COMMIT;")
        if not (self._take(found) or later or self.scan()):
            raise InputError(f"{source}: expected verdicts as edgevid run --save-abstained keeps them, found none")

    def close(self) -> None:
        """Closes the database."""
        self._base.close()

    def scan(self) -> int:
        """Takes what was saved in the folder since the last call, and drops what was deleted; how many are new."""
        with self._lock:
            described = filter(Path.is_file, self.source.glob("????????T?????????-*.json"))
            files, found = {file.stem: file for file in described}, []
            for stem in sorted(files.keys() - self._known):
                with suppress(FileNotFoundError), files[stem].open(encoding="utf-8", errors="replace") as file:
                    found.append((stem, file.read(1 << 24)))  # else deleted for a newer one meanwhile
            self._write("DELETE FROM items WHERE id = ?", [(stem,) for stem in self._known - files.keys()])
            count = self._take(found)
            whole = {row["id"] for row in self.rows("SELECT id FROM found WHERE json_valid(about)")}
            self._known = self._known & files.keys() | whole  # others are written still
            return count

    def _take(self, found: list[tuple[str, str]]) -> int:
        with self._lock, database_errors(self.path), self._base:
            self._base.execute("DELETE FROM found")
            self._base.executemany("INSERT INTO found VALUES (?, ?)", found)
            return self._base.execute(ITEMS, self._chosen).rowcount

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query: of items, votes, answers, agreement, audit, labeled."""
        with self._lock, database_errors(self.path):
            return [dict(row) for row in self._base.execute(sql, values)]

    def decide(self, batch: str, reviewer: str, labels: Mapping[str, str], *, blind: bool = False,
               second: bool = False) -> None:  # fmt: skip
        """Adds labels of items, as one step to undo; a `batch` that is there already changes nothing."""
        if not (batch and reviewer.strip() and labels and all(labels.values())):
            raise InputError(f"review: expected a reviewer's name and labels, got {reviewer!r} and {labels!r}")
        utc, flags = utc_text(clock.time()), (bool(blind), 2 if second else 1)
        rows = [(batch, item, reviewer.strip(), label, utc, *flags) for item, label in labels.items()]
        self._write("INSERT OR IGNORE INTO decisions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, '')", rows)

    def undo(self, batch: str, reviewer: str) -> list[str]:
        """Withdraws a reviewer's last batch; its items. What they answered before holds again."""
        self._write("INSERT INTO undos VALUES (?, ?, ?)", [(batch, reviewer.strip(), utc_text(clock.time()))])
        return [row["item"] for row in self.rows("SELECT item FROM decisions WHERE batch = ?", batch)]

    def group(self) -> None:
        """Finds look-alikes of each task: items whose crops correlate with that of the first one of their group. An
        item of the audit sample is rated by itself, and has no group."""
        items = self.rows("SELECT * FROM items WHERE NOT (reason = 'OK' AND draw < rate) ORDER BY task, utc, id")
        sizes, rows = Counter[str](), list[tuple[str | None, str]]()
        for _, some in groupby(items, lambda item: item["task"]):
            first, known = list[str](), np.zeros((len(items), SIDE * SIDE * 3), np.float32)
            for item in some:
                vector = _normalized(self.folder / (item["crop"] or "-"))
                near = known[: len(first)] @ vector
                if not first or near.max() < ALIKE:
                    known[len(first)] = vector
                    first.append(item["id"])
                    rows.append((None, item["id"]))  # it may have had one before others came
                    continue
                rows.append((group := first[int(near.argmax())], item["id"]))
                sizes[group] += 1
                if sizes[group] == MOST_ALIKE - 1:
                    known[near.argmax()] = 0  # full
        self._write('UPDATE items SET "group" = ? WHERE id = ?', rows)

    def _write(self, sql: str, rows: Sequence[Any]) -> None:
        with self._lock, database_errors(self.path), self._base:
            self._base.executemany(sql, rows)


def audit_text(review: Review, confidence: float = 0.95) -> str:
    """The certified sentence on the emitted verdicts, and what it rests on. InputError without an audit sample. The
    exact bound of Clopper and Pearson (1934). Undecided verdicts (not reviewed, disputed, or such that a person cannot
    tell) count as wrong, so that it holds at every moment of the review."""
    if not 0 < confidence < 1:
        raise InputError(f"--confidence: expected more than 0 and less than 1, got {confidence}")
    (found,) = review.rows("SELECT * FROM audit")
    n, wrong, undecided, text = (found[key] for key in ("sampled", "wrong", "undecided", "text"))
    if not n:
        raise InputError("no audit sample: take one with edgevid run ... --save-abstained DIR --audit 0.05")

    def most(errors: int) -> str:
        bound = upper_bound(errors, n, 1 - confidence)
        return f"at most {math.ceil(1000 * bound - 1e-9) / 10:.1f} %"  # never below the bound

    told = f"{most(wrong + undecided).capitalize()} of the verdicts were wrong ({100 * confidence:.4g} %). {text}"
    return told + f" Undecided ones count as wrong; if all were right: {most(wrong)}." * bool(undecided)


def write_csv(path: Path, head: Iterable[str], rows: Iterable[Any]) -> None:
    """Writes a CSV in UTF-8 for programs: its cells are as given."""
    with atomic_path(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_text([head, *rows]))


def export_labels(review: Review, path: Path) -> int:
    """Writes .csv (path,label,group, ...), .json (COCO) or else a folder; how many labels. InputError without any."""
    rows = review.rows("SELECT * FROM labeled WHERE path IS NOT NULL ORDER BY utc, path")
    if not rows:
        raise InputError(f"{review.source}: no label to export: label some with edgevid review {review.source}")
    kind, at = path.suffix.lower(), path.absolute().parent
    if kind == ".csv":
        base = review.folder.absolute()
        table = ((row | {"path": os.path.relpath(base / row["path"], at)}).values() for row in rows)
        write_csv(path, rows[0], table)
    elif kind == ".json":
        write_atomic(path, json.dumps(_coco(rows, review.folder), indent=1))
    for number, row in enumerate(() if kind in (".csv", ".json") else rows, 1):
        label, scene = (re.sub(r"[^\w .-]+", "-", row[name]).strip(" .") or "-" for name in ("label", "group"))
        make_folder(path / label)
        with VideoWriter(path / label / f"{scene}_{number}.mp4", quality=18) as video:
            for time, image in images_of(row, review.folder):
                video.write(image, time)
    return len(rows)


def _coco(rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """An image per crop, with its label as one box around all of it."""
    names, images, boxes = sorted({row["label"] for row in rows}), [], []
    for number, row in enumerate(rows, 1):
        height, width = images_of(row | {"film": None}, folder)[0][1].shape[:2]
        images.append({"id": number, "file_name": row["path"], "width": width, "height": height})
        boxes.append({"id": number, "image_id": number, "category_id": names.index(row["label"]) + 1, "iscrowd": 0,
                      "bbox": [0, 0, width, height], "area": width * height, "track_id": row["track"]})  # fmt: skip
    classes = [{"id": n, "name": name} for n, name in enumerate(names, 1)]
    return {"images": images, "annotations": boxes, "categories": classes}


def images_of(row: dict[str, Any], folder: Path) -> list[tuple[float, Array]]:
    """The images of a film at their times in seconds, or the crop alone."""
    image, times = read_image(folder / (row["film"] or row["path"])), json.loads(row["times"] if row["film"] else "[0]")
    if image is None:
        raise InputError(f"{folder / row['path']}: the image is missing or damaged; undo its label")
    return list(zip(times, np.split(image, len(times), 1), strict=True))


@lru_cache(10_000)  # of 6 kB
def _normalized(path: Path) -> Array:
    """The pixels of an image at SIDE x SIDE without their mean, of length 1; zeros where it cannot be read."""
    image = read_image(path)
    small = np.zeros(SIDE * SIDE * 3) if image is None else resize_area(image, (SIDE, SIDE)).ravel()
    small = small - small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6))

"""Labeled files as they lie on disk: a folder per class, a CSV with columns of labels, or a detector's images/ and
labels/. A bad file stops nothing: what is left out is returned with the reason."""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from edgevid.errors import FileFormatError, InputError
from edgevid.files.cells import csv_rows
from edgevid.video.images import IMAGES

SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".mpg", ".webm", *sorted(IMAGES))  # An image is a video of one frame
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
KNOWN = ("group", "split", "camera", "day", "start", "end")  # Columns of a CSV that are no labels
LeftOut = tuple[str, str]  # A file, folder or line, and why it is left out


class Item(NamedTuple):
    """One labeled image or video."""

    path: Path
    labels: Mapping[str, str]  # By attribute: "label" of a folder per class, the columns of a CSV; none of a detector
    group: str  # Its scene: a split keeps all items of a group on one side
    split: str = ""  # "train", "val", "test" or another word; empty: not split yet
    camera: str = ""
    day: str = ""
    start: str = ""  # With `end` the labeled part of a long video, in seconds
    end: str = ""
    boxes: tuple[tuple[str, float, float, float, float, float], ...] = ()
    """Class, x1, y1, x2, y2 (pixels, or shares of the image) and weight of each box in a detector's image; a negative
    weight marks a region that does not count."""


def read_items(data: Path) -> tuple[list[Item], list[LeftOut]]:
    """The items of a folder or CSV, and what is left out; InputError without any, FileFormatError for other columns."""
    left_out: list[LeftOut] = []
    if data.suffix.lower() == ".csv":
        items = [*_of_csv(data, left_out)]
    elif (data / "images").is_dir() and (data / "labels").is_dir():
        items = [*_of_detector(data, left_out)]
    elif data.is_dir():
        items = [*_of_folders(data, left_out)]
    else:
        raise InputError(f"{data}: expected a folder per class in it, a CSV, or a detector's images/ and labels/; "
                         "of a video, crop the objects first and sort them into a folder per class")  # fmt: skip
    if not items:
        where, why = left_out[0] if left_out else (data, "expected one folder per class, found none")
        raise InputError(f"{where}: {why}")
    return items, left_out


def group_of(path: Path) -> str:
    """The scene in a clip's name: UCF's gNN, else the name without its clip number.

    >>> group_of(Path("v_Punch_g03_c02.avi")), group_of(Path("gate_2026_7.mp4"))
    ('v_Punch_g03', 'gate_2026')
    """
    stem = path.stem
    if match := re.match(r"(.*_g\d+)_c\d+$", stem):
        return match[1]
    return re.sub(r"[_-]?\d+$", "", stem) or stem


def _of_folders(data: Path, left_out: list[LeftOut]) -> Iterator[Item]:
    tops = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith("."))
    split = all(top.name.lower() in SPLITS for top in tops)  # train/CLASS/..., else CLASS/...
    for folder in [one for top in tops for one in sorted(top.iterdir()) if one.is_dir()] if split else tops:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        videos = [path for path in files if path.suffix.lower() in SUFFIXES]
        if not videos:
            left_out.append((str(folder), f"this class folder holds no video or image ({', '.join(SUFFIXES)})"))
        left_out += [(str(path), "is no video or image by its name") for path in files if path not in videos]
        side = SPLITS[folder.parent.name.lower()] if split else ""
        yield from (Item(path, {"label": folder.name}, group_of(path), side) for path in videos)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV with a header; InputError where there is no file, FileFormatError where it is another one."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the path")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel's "CSV UTF-8" has a mark, and often ;
            mark = max(",;\t", key=file.readline().count)
            file.seek(0)
            return list(csv_rows(file, delimiter=mark, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(path, "the whole file", expected="CSV text in UTF-8", got=str(error)) from None


def _of_csv(path: Path, left_out: list[LeftOut]) -> Iterator[Item]:
    rows = read_table(path)
    names = [name for name in rows[0] if name and name not in ("path", *KNOWN)] if rows else []
    names = ["label"] if "label" in names else names
    if not names or "path" not in rows[0]:
        expected = f"path,label[,{','.join(KNOWN)}], or columns of labels by their names in the place of label"
        raise FileFormatError(path, "header", expected=expected, got=list(rows[0]) if rows else None)
    for line, row in enumerate(rows, 2):
        item, labels = path.parent / (row["path"] or ""), {name: row[name] for name in names if row[name]}
        group, split, camera, day, start, end = (row.get(name) or "" for name in KNOWN)
        if labels and item.is_file():
            yield Item(item, labels, group or group_of(item), split, camera, day, start, end)
        else:
            left_out.append((f"{path}, line {line}", f"expected a label and an existing file, got {row}"))


def _of_detector(data: Path, left_out: list[LeftOut]) -> Iterator[Item]:
    texts = {path.relative_to(data / "labels").with_suffix(""): path for path in (data / "labels").rglob("*.txt")}
    for path in sorted(one for one in (data / "images").rglob("*") if one.suffix.lower() in IMAGES):
        name, boxes = path.relative_to(data / "images").with_suffix(""), []
        if (text := texts.pop(name, None)) is None:
            left_out.append((str(path), "has no label file"))
            continue
        for number, line in enumerate(text.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
            try:
                kind, *words = line.split() or [""]
                a, b, c, d, weight = map(float, [*words, "1"][:5] if kind else "00000")
            except ValueError:
                left_out.append((f"{text}, line {number}", f"expected a class and 4 numbers, got {line!r}"))
                continue
            shares = max(a, b, c, d) <= 1  # YOLO: center and size
            box = (a - c / 2, b - d / 2, a + c / 2, b + d / 2) if shares else (a, b, c, d)
            boxes += [(kind, *box, weight)] if kind else []
        yield Item(path, {}, group_of(path), SPLITS.get(name.parts[0].lower(), ""), boxes=tuple(boxes))
    left_out += [(str(path), "has no image") for path in texts.values() if path.stem != "classes"]

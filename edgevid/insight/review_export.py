"""Reviewed labels as files: a table, COCO's JSON, or class folders of short videos for `edgevid train actions`."""

import json
import os
import re
from csv import writer
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.files.atomic import atomic_path, make_folder, write_atomic
from edgevid.insight.review import Review
from edgevid.types import Array
from edgevid.video.images import read_image
from edgevid.video.writer import VideoWriter


def export(review: Review, path: Path) -> int:
    """Writes .csv (path,label,group, ...), .json (COCO) or else a folder; how many labels. InputError without any."""
    rows = review.rows("SELECT * FROM labeled WHERE path IS NOT NULL ORDER BY utc, path")
    if not rows:
        raise InputError(f"{review.source}: no label to export: label some with edgevid review {review.source}")
    kind, at = path.suffix.lower(), path.absolute().parent
    if kind == ".csv":
        with atomic_path(path) as new, new.open("w", encoding="utf-8", newline="") as file:
            paths = (os.path.relpath(review.folder.absolute() / row["path"], at) for row in rows)
            writer(file).writerows(
                [rows[0], *([one, *list(row.values())[1:]] for one, row in zip(paths, rows, strict=True))]
            )
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
    return {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": n, "name": x} for n, x in enumerate(names, 1)],
    }


def images_of(row: dict[str, Any], folder: Path) -> list[tuple[float, Array]]:
    """The images of a film at their times in seconds, or the crop alone."""
    image, times = read_image(folder / (row["film"] or row["path"])), json.loads(row["times"] if row["film"] else "[0]")
    if image is None:
        raise InputError(f"{folder / row['path']}: the image is missing or damaged; undo its label")
    return list(zip(times, np.split(image, len(times), 1), strict=True))

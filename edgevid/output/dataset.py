"""DatasetSink: frames as images with the boxes of their objects, as COCO's or as YOLO's tools read them."""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from edgevid.errors import FileFormatError, InputError
from edgevid.files import file_name, make_folder, write_atomic
from edgevid.types import Array, Closing, Frame, Header, Result
from edgevid.video.images import to_jpeg

Layout = Literal["coco", "yolo"]


class DatasetSink(Closing):
    """A folder `images` with JPEGs, and next to it `annotations.json` (COCO), or `labels` and `data.yaml`. Only what
    was detected in the frame is written, not what was predicted. A folder that exists is continued."""

    def __init__(self, folder: str | Path, layout: Layout, *, every_s: float = 1.0) -> None:
        """A frame is written `every_s` seconds at most; 0: those in which an event was found. SourceError where the
        folder cannot be written, FileFormatError for other annotations in it."""
        if layout not in get_args(Layout) or every_s < 0:
            raise InputError(f"DatasetSink: expected coco or yolo and every_s >= 0, got {layout!r}, {every_s}")
        self.path, self.name = Path(folder), f"{layout} {folder}"
        self._layout, self._every_s = layout, every_s
        make_folder(self.path / "images")
        self._run, self._last, self._names = Header().run, -np.inf, tuple[str, ...]()
        self.saved = 0  # Images that this run wrote
        self._index: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        if layout == "yolo":
            make_folder(self.path / "labels")
        elif (path := self.path / "annotations.json").exists():
            try:
                self._index |= json.loads(path.read_bytes())
            except (ValueError, TypeError) as error:
                expected, got = "COCO's JSON", str(error)
                raise FileFormatError(path, "the whole file", expected=expected, got=got) from None

    def open(self, header: Header) -> None:
        """The run's name begins the names of its images."""
        self._run = header.run

    def write(self, frame: Frame, result: Result) -> None:
        """Writes a frame that is due; one that nothing was detected in would be an image without boxes."""
        due = frame.time < self._last or frame.time - self._last >= self._every_s
        if result.gated or result.damaged or not (due if self._every_s else result.events):
            return
        self._last = frame.time
        if names := result.names.get("class", ()):
            self._names = tuple(names)
        stem = f"{file_name(self._run)}-{frame.index:08d}"
        write_atomic(self.path / "images" / f"{stem}.jpg", to_jpeg(frame.image, qscale=2))
        tracks = result.tracks[result.tracks.match >= 0]
        boxes = tracks.boxes.astype(float).clip(0, np.tile(result.size, 2))
        boxes[:, 2:] -= boxes[:, :2]
        keep = (boxes[:, 2:] > 0).all(1)
        (self._add_coco if self._layout == "coco" else self._write_yolo)(stem, result, tracks[keep], boxes[keep])
        self.saved += 1
        if not self.saved & (self.saved - 1):  # ever more rarely: writing all again takes longer and longer
            self._write_index()

    def close(self) -> None:
        """Writes what the images have in common."""
        if self.saved:
            self._write_index()

    def _add_coco(self, stem: str, result: Result, tracks: Any, boxes: Array) -> None:
        images, annotations = self._index["images"], self._index["annotations"]
        number = len(images) + 1
        images.append({"id": number, "file_name": f"{stem}.jpg", "width": result.size[0],
                       "height": result.size[1]})  # fmt: skip
        for track, box in zip(tracks, boxes.round(2).tolist(), strict=True):
            mask = result.detections.masks[track.match] if len(result.detections) > track.match else None
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": track.label + 1,
                                "bbox": box, "area": round(box[2] * box[3], 2), "iscrowd": 0,
                                "score": round(track.score, 4), "track_id": track.id,
                                "segmentation": mask.rle(result.size) if mask else []})  # fmt: skip

    def _write_yolo(self, stem: str, result: Result, tracks: Any, boxes: Array) -> None:
        boxes = np.hstack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]]) / np.tile(result.size, 2)
        lines = (f"{label} {' '.join(f'{v:.6f}' for v in box)}\n"
                 for label, box in zip(tracks.labels, boxes, strict=True))  # fmt: skip
        (self.path / "labels" / f"{stem}.txt").write_text("".join(lines))

    def _write_index(self) -> None:
        if self._layout == "yolo":
            names = "".join(f"  {n}: {json.dumps(name)}\n" for n, name in enumerate(self._names))
            write_atomic(self.path / "data.yaml", f"train: images\nval: images\nnames:\n{names}")
            return
        categories = [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(self._names, 1)]
        if self._index["categories"] not in ([], categories):
            raise InputError(f"{self.path}: holds other classes than this model's; choose another folder")
        self._index["categories"] = categories
        write_atomic(self.path / "annotations.json", json.dumps(self._index))

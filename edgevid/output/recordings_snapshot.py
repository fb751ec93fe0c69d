"""Snapshots: each object at its best moment, as it is and with its box and values drawn."""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgevid.errors import MissingExtraError
from edgevid.output.overlay import Overlay
from edgevid.output.recordings_folder import RecordingsFolder
from edgevid.types import Array, Detections, Event, Frame, Result, Tracks
from edgevid.video.images import to_jpeg

MARGIN = 0.5  # Shown around an object, as a share of its box's longer side
BETTER = 1.15  # A moment must be better by this factor: a copy of its pixels is made then
SMALLEST = 160  # Pixels that a snapshot has at least, where the frame has as many
EVERY_S = 0.2
CUT_OFF = 0.25  # Weight of an object at the frame's border, which may be cut off
SIDE = 48  # Sharpness is measured on about this many pixels a side
Put = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class _Best:
    """The best moment of one track so far."""

    value: float = 0.0
    due: float = -np.inf
    moment: tuple[Frame, Result] | None = None
    name: str = ""
    written: Any = None  # The moment that is on the disk


class BestMoments:
    """Keeps the best crop of each object, and writes those that an event named."""

    def __init__(self, folder: RecordingsFolder, *, unit: str = "km/h") -> None:
        self._folder = folder
        self._overlay: Overlay | None = None
        with suppress(MissingExtraError):  # without OpenCV there is the plain image alone
            self._overlay = Overlay(trail_s=0.0, show_status=False, unit=unit)
        self._tracks: dict[int, _Best] = {}

    def name(self, event: Event, utc: float, put: Put) -> str:
        """The snapshot of an event's object; "" where it has none. Its end writes the best of all."""
        if (best := self._tracks.get(event.track) if event.track is not None else None) is None:
            return ""
        best.name = best.name or self._folder.name(utc, str(event.track), ".jpg")
        if event.kind == "track-ended":
            del self._tracks[event.track]  # type: ignore[arg-type]
        if event.kind == "track-ended" or best.written is None:
            self._write(best, put)
        return best.name

    def update(self, frame: Frame, result: Result, put: Put) -> None:
        """Notes what is better now; writes what was named and is not there yet."""
        tracks = result.tracks
        rows = zip(tracks.ids.tolist(), tracks.boxes, tracks.scores.tolist(), tracks.match.tolist(), strict=True)
        for row, (number, box, score, match) in enumerate(rows):
            best = self._tracks.setdefault(number, _Best())
            if match >= 0 and not frame.damaged and frame.time >= best.due:
                self._compare(best, frame, result, row, box, score)
            if best.name and best.written is None:
                self._write(best, put)

    def _compare(self, best: _Best, frame: Frame, result: Result, row: int, box: Array, score: float) -> None:
        best.due = frame.time + EVERY_S
        width, height = frame.size
        x1, y1, x2, y2 = map(float, box)
        whole = x1 > 1 and y1 > 1 and x2 < width - 1 and y2 < height - 1
        value = np.sqrt(max(0.0, (x2 - x1) * (y2 - y1))) * score * (1.0 if whole else CUT_OFF)
        if value < 0.7 * best.value or min(x2, width) - max(x1, 0) < 2 or min(y2, height) - max(y1, 0) < 2:
            return
        value *= _sharpness(frame, box)
        if value > BETTER * best.value:
            best.value, best.moment = value, _crop(frame, result, row)

    def _write(self, best: _Best, put: Put) -> None:
        moment, again = best.moment, best.written is not None
        if moment is not None and moment is not best.written:
            best.written = moment
            put(lambda: self._save(best.name, *moment, again=again))

    def _save(self, name: str, frame: Frame, result: Result, *, again: bool) -> None:
        """In the recording's thread: the plain image, and the one with the overlay."""
        if again and not (self._folder.path / name).exists():  # deleted for newer ones
            return
        images = {name: frame.image}
        if self._overlay is not None:
            images[f"{name.removesuffix('.jpg')}-drawn.jpg"] = self._overlay.draw(frame, result)
        for path, image in images.items():
            with closing(self._folder.create(path)) as file:
                file.write(to_jpeg(image))


def _sharpness(frame: Frame, box: Array) -> float:
    """Mean difference of neighboring pixels over their spread: falls where an image is blurred."""
    plane = frame.planes[0] if frame.planes is not None else frame.image[:, :, 1]
    x1, y1, x2, y2 = np.clip(np.asarray(box, int), 0, [*frame.size, *frame.size])
    part = plane[y1:y2, x1:x2]
    grid = part[:: max(1, max(part.shape) // SIDE)].astype(np.float32)
    change = float(np.abs(np.diff(grid, axis=1)).mean()) if grid.shape[1] > 1 else 0.0
    return 0.2 + min(1.0, change / (float(grid.std()) + 4.0))


def _crop(frame: Frame, result: Result, row: int) -> tuple[Frame, Result]:
    """The object with its surroundings, and the result of it alone in their pixels."""
    box = result.tracks.boxes[row].astype(float)
    side = max(box[2] - box[0], box[3] - box[1])
    margin = max(MARGIN * side, (SMALLEST - side) / 2)
    wide = box + np.array([-margin, -margin, margin, margin])
    crop = frame.crop(wide)
    x, y = (max(0, int(v) // 2 * 2) for v in wide[:2])
    one = result.tracks[np.array([row])]
    moved = (one.boxes - np.array([x, y, x, y])).astype(np.float32)
    tracks = Tracks.of(ids=one.ids, boxes=moved, scores=one.scores, labels=one.labels, match=[0],
                       age=one.age, unseen=one.unseen)  # fmt: skip
    found = Detections.of(boxes=moved, scores=one.scores, labels=one.labels)
    return crop, replace(result, size=crop.size, tracks=tracks, detections=found, events=())

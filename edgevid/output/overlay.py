"""The overlay: what was learned, drawn over the image; silences are shown as silences."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from edgevid.types import Array, DisplaySpeed, Frame, Reason, Result

Color = tuple[int, int, int]
UNITS = {"km/h": 3.6, "mph": 2.2369363, "m/s": 1.0}
INK, PAPER, GRAY = (255, 255, 255), (20, 22, 26), (190, 190, 190)
SETTLED_S = 0.1
"""A speed that speaks of so many seconds ago, or more, is shown with its age."""
FAR = 30_000
"""Pixels beyond which nothing is drawn: OpenCV's own coordinates end soon after."""
FONT = cv2.FONT_HERSHEY_DUPLEX


@lru_cache(maxsize=4096)
def color_of(number: int) -> Color:
    """A color for an id: equally light for all, and far in hue from its neighbors (golden angle).

    In OKLab (Ottosson 2020), where equal steps look equal.
    """
    hue = number * 2.399963  # the golden angle, in radians
    light, a, b = 0.76, 0.14 * math.cos(hue), 0.14 * math.sin(hue)
    cube = np.array(
        [
            light + 0.3963377774 * a + 0.2158037573 * b,
            light - 0.1055613458 * a - 0.0638541728 * b,
            light - 0.0894841775 * a - 1.2914855480 * b,
        ]
    ) ** 3  # fmt: skip
    matrix = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    linear = np.clip(matrix @ cube, 0, 1)
    red, green, blue = (int(v) for v in np.round(255 * linear ** (1 / 2.2)))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes in pixels, made for one image size."""

    line: int
    text: float
    pad: int

    @classmethod
    def of(cls, width: int, height: int) -> Style:
        """Readable at 480 lines and at 4K: everything grows with the shorter side."""
        unit = min(width, height) / 720
        return cls(max(1, round(2 * unit)), max(0.36, 0.5 * unit), max(2, round(3 * unit)))


@lru_cache(maxsize=2048)
def label_bitmap(lines: tuple[tuple[str, Color], ...], text: float, pad: int, edge: Color) -> Array:
    """(h, w, 3) uint8: the lines of text on a dark plate with a colored left edge."""
    thick = max(1, round(text * 1.4))
    sizes = [cv2.getTextSize(words, FONT, text, thick) for words, _ in lines]
    step = max(size[0][1] + size[1] for size in sizes) + pad
    wide = max(size[0][0] for size in sizes) + 4 * pad
    plate = np.full((step * len(lines) + pad, wide, 3), PAPER, np.uint8)
    plate[:, : 2 * pad // 2 + 1] = edge
    for n, (words, ink) in enumerate(lines):
        base = (2 * pad + 1, step * (n + 1) - sizes[n][1] // 2)
        cv2.putText(plate, words, base, FONT, text, ink, thick, cv2.LINE_AA)
    plate.setflags(write=False)
    return plate


class Overlay:
    """Draws results; keeps only the trails of the objects that are there."""

    def __init__(
        self, *, trail_s: float = 1.5, unit: str = "km/h", show_speed: bool = True, show_status: bool = True
    ) -> None:
        """`trail_s` seconds of each object's path are drawn; `unit` is "km/h", "mph" or "m/s"."""
        if unit not in UNITS:
            from edgevid.errors import InputError

            raise InputError(f"unit: expected one of {tuple(UNITS)}, got {unit!r}")
        self.trail_s, self.unit, self.show_speed, self.show_status = trail_s, unit, show_speed, show_status
        self._trails: dict[int, deque[tuple[float, int, int]]] = {}

    def reset(self) -> None:
        """Forgets every trail."""
        self._trails.clear()

    def draw(self, frame: Frame, result: Result, *, notes: Sequence[str] = ()) -> Array:
        """A copy of the frame (H, W, 3) uint8 RGB with boxes, ids, verdicts, speeds and trails.

        `notes` are further lines for the status plate in the lower left corner.
        """
        image = self.background(frame)
        style = Style.of(frame.width, frame.height)
        self._remember(result)
        tracks = result.tracks
        # Far objects first, so that the labels of near ones lie on top.
        order = np.argsort(tracks.boxes[:, 3], kind="stable")
        for row in order:
            self._trail(image, int(tracks.ids[row]), style)
        corners = np.clip(np.nan_to_num(tracks.boxes), -FAR, FAR).astype(int).tolist()
        for row in order:
            self._box(image, corners[row], int(tracks.ids[row]), tracks.match[row] < 0, style)
        taken: list[tuple[int, int, int, int]] = []
        texts = _texts(result, self.unit if self.show_speed else None)
        for row in order[::-1]:
            edge = color_of(int(tracks.ids[row]))
            far = tracks.boxes[row, 3] - tracks.boxes[row, 1] < 90 * style.text
            plate = label_bitmap(texts[row][:1] if far else texts[row], style.text, style.pad, edge)
            _place(image, plate, corners[row], taken)
        if self.show_status:
            self._status(image, result, notes, style)
        return image

    def background(self, frame: Frame) -> Array:
        """A copy of the frame (H, W, 3) to draw on."""
        return frame.image.copy()

    def _remember(self, result: Result) -> None:
        tracks = result.tracks
        present = {int(i) for i in tracks.ids}
        for gone in self._trails.keys() - present:
            del self._trails[gone]
        for i, box in zip(tracks.ids, tracks.boxes, strict=True):
            if not np.isfinite(box).all():
                continue
            trail = self._trails.setdefault(int(i), deque())
            trail.append((result.time, round(float(box[0] + box[2]) / 2), round(float(box[3]))))
            while trail and result.time - trail[0][0] > self.trail_s:
                trail.popleft()

    def _trail(self, image: Array, number: int, style: Style) -> None:
        points = np.array([(x, y) for _, x, y in self._trails.get(number, ())], np.int32)
        if len(points) > 1:
            cv2.polylines(image, [points], False, color_of(number), style.line, cv2.LINE_AA)

    def _box(self, image: Array, box: Sequence[int], number: int, coasting: bool, style: Style) -> None:
        x1, y1, x2, y2 = box
        color = color_of(number)
        if not coasting:
            cv2.rectangle(image, (x1, y1), (x2, y2), color, style.line)  # upright: nothing to smooth
            return
        # A predicted place, not a seen one: corners only.
        arm = max(3, min(x2 - x1, y2 - y1) // 4)
        for x, y, dx, dy in ((x1, y1, 1, 1), (x2, y1, -1, 1), (x1, y2, 1, -1), (x2, y2, -1, -1)):
            cv2.line(image, (x, y), (x + dx * arm, y), color, style.line)
            cv2.line(image, (x, y), (x, y + dy * arm), color, style.line)

    def _status(self, image: Array, result: Result, notes: Sequence[str], style: Style) -> None:
        busy = sum(result.timings.values())
        words = f"{result.time:7.2f} s   {len(result.tracks)} objects   {1000 * busy:.1f} ms"
        lines = ((words, INK), *((note, GRAY) for note in notes))
        plate = label_bitmap(lines, style.text, style.pad, GRAY)
        high = image.shape[0]
        _blit(image, plate, style.pad, high - plate.shape[0] - style.pad)


def _texts(result: Result, unit: str | None) -> list[tuple[tuple[str, Color], ...]]:
    """The label lines of each track, in the order of the tracks."""
    names = result.names.get("class", ())
    speeds = result.display_speeds() if unit else {}
    said = {task: {v.id: v for v in verdicts} for task, verdicts in result.verdicts.items()}
    texts = []
    for number, label in zip(result.tracks.ids, result.tracks.labels, strict=True):
        i = int(number)
        kind = names[label] if 0 <= label < len(names) else f"class {label}"
        judged = said.get("class", {}).get(i)
        if judged is not None:
            kind = names[judged.label] if 0 <= judged.label < len(names) else "unsure"
        lines = [(f"{kind} {i}", INK)]
        for task, verdicts in said.items():
            if i in verdicts and task != "class":
                lines.append(verdict_words(task, verdicts[i], result.names.get(task, ())))
        if i in speeds and unit:
            lines.append(speed_words(speeds[i], unit))
        texts.append(tuple(lines))
    return texts


def verdict_words(task: str, verdict: Any, names: Sequence[str]) -> tuple[str, Color]:
    """What a verdict says, or why it says nothing: ("unsure: too small", gray)."""
    if verdict.label < 0 or verdict.reason is not Reason.OK:
        lead = "unsure" if task == "action" else f"{task} unsure"
        return f"{lead}: {verdict.reason.description}", GRAY
    name = names[verdict.label] if verdict.label < len(names) else f"{task} {verdict.label}"
    return f"{name} {100 * verdict.confidence:.0f}%", INK


def speed_words(speed: DisplaySpeed, unit: str) -> tuple[str, Color]:
    """ "52 +-2 km/h", of a smoothed value also its age, or why there is no speed: "- too uncertain"."""
    if speed.reason is not Reason.OK:
        return f"- {speed.reason.description}", GRAY
    scale = UNITS[unit]
    words = f"{scale * speed.mps:.0f} +-{math.ceil(scale * speed.sigma):.0f} {unit}"
    return (f"{words}, {speed.age_s:.1f} s ago" if speed.age_s >= SETTLED_S else words), INK


def _place(image: Array, plate: Array, box: Sequence[int], taken: list[tuple[int, int, int, int]]) -> None:
    """Puts a label above its box, else below, else inside: wherever it covers no other label."""
    high, wide = plate.shape[:2]
    x1, y1, _, y2 = box
    x = min(max(0, x1), max(0, image.shape[1] - wide))
    spots = [y1 - high, y2 + 1, y1 + 2, y2 - high - 2]
    inside = [y for y in spots if 0 <= y <= image.shape[0] - high] or [0]
    for y in inside:
        spot = (x, y, x + wide, y + high)
        if not any(spot[0] < t[2] and t[0] < spot[2] and spot[1] < t[3] and t[1] < spot[3] for t in taken):
            break
    else:
        y = inside[0]
        spot = (x, y, x + wide, y + high)
    taken.append(spot)
    _blit(image, plate, spot[0], spot[1])


def _blit(image: Array, plate: Array, x: int, y: int) -> None:
    """Copies what fits of `plate` into the image at (x, y)."""
    y, x = max(0, y), max(0, x)
    room = image[y : y + plate.shape[0], x : x + plate.shape[1]]
    room[:] = plate[: room.shape[0], : room.shape[1]]


def contact_sheet(images: Sequence[Array], *, columns: int = 3, width: int = 480) -> Array:
    """One image of several (H, W, 3) uint8, each `width` pixels wide, row by row."""
    cells = []
    for image in images:
        high = round(image.shape[0] * width / image.shape[1])
        cells.append(cv2.resize(image, (width, high), interpolation=cv2.INTER_AREA))
    tall = max(cell.shape[0] for cell in cells)
    rows = []
    for start in range(0, len(cells), columns):
        row = np.full((tall, width * columns, 3), PAPER, np.uint8)
        for n, cell in enumerate(cells[start : start + columns]):
            row[: cell.shape[0], n * width : (n + 1) * width] = cell
        rows.append(row)
    return np.concatenate(rows)

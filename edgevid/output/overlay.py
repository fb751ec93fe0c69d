"""The overlay: boxes, labels, speeds and trails drawn over the image; abstentions show their reason."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from edgevid._opencv import cv2, require_opencv
from edgevid.detect.instance import corners
from edgevid.errors import InputError
from edgevid.types import KMH, Array, DisplaySpeed, Frame, Reason, Result, as_frame

Color = tuple[int, int, int]
UNITS = {"km/h": KMH, "mph": 2.2369363, "m/s": 1.0}
INK, PAPER, GRAY = (255, 255, 255), (20, 22, 26), (190, 190, 190)
MAX_PX = 30_000
"""Coordinates are clipped here: OpenCV's own end soon after."""
FONT = 2  # cv2.FONT_HERSHEY_DUPLEX


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
    sizes = [cv2.getTextSize(line, FONT, text, thick) for line, _ in lines]
    step = max(size[0][1] + size[1] for size in sizes) + pad
    wide = max(size[0][0] for size in sizes) + 4 * pad
    plate = np.full((step * len(lines) + pad, wide, 3), PAPER, np.uint8)
    plate[:, : 2 * pad // 2 + 1] = edge
    for n, (line, ink) in enumerate(lines):
        base = (2 * pad + 1, step * (n + 1) - sizes[n][1] // 2)
        cv2.putText(plate, line, base, FONT, text, ink, thick, cv2.LINE_AA)
    plate.setflags(write=False)
    return plate


LIMBS = (
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12),
    (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Pairs of COCO's 17 key points that are joined (cocodataset.org, person_keypoints)."""
MIN_POINT = 0.5
"""Confidence of a key point that is drawn."""


def draw_instance(image: Array, result: Result, row: int, color: Color, line: int) -> None:
    """Draws what there is of mask, rotated box and key points of a track that is detected now."""
    tracks, match = result.tracks, int(result.tracks.match[row])
    if match < 0:
        return
    mask = result.detections.masks[match] if match < len(result.detections) else None
    if mask is not None:
        high, wide = mask.pixels.shape
        part = image[mask.top : mask.top + high, mask.left : mask.left + wide]
        inside = mask.pixels.astype(bool)
        part[inside] = (part[inside] * 0.55 + np.array(color) * 0.45).astype(np.uint8)
    if tracks.rotated.shape[1]:
        points = np.clip(corners(tracks.rotated[row : row + 1])[0], -MAX_PX, MAX_PX).round().astype(np.int32)
        cv2.polylines(image, [points], True, color, line, cv2.LINE_AA)
    points = tracks.keypoints[row]
    visible = np.isfinite(points).all(1) & (points[:, 2] >= MIN_POINT)
    places = np.clip(np.nan_to_num(points[:, :2]), -MAX_PX, MAX_PX).round().astype(int).tolist()
    for a, b in LIMBS if len(points) == 17 else ():
        if visible[a] and visible[b]:
            cv2.line(image, places[a], places[b], color, line, cv2.LINE_AA)
    for place in (p for p, v in zip(places, visible.tolist(), strict=True) if v):
        cv2.circle(image, place, line + 1, INK, -1, cv2.LINE_AA)
        cv2.circle(image, place, line + 1, color, 1, cv2.LINE_AA)


class Overlay:
    """Draws results; keeps the trails of the current tracks only."""

    def __init__(self, *, trail_s: float = 1.5, unit: str = "km/h", show_status: bool = True) -> None:
        """`trail_s` seconds of each object's path are drawn; `unit` is "km/h", "mph" or "m/s"."""
        require_opencv("Drawing")
        if unit not in UNITS:
            raise InputError(f"unit: expected one of {tuple(UNITS)}, got {unit!r}")
        self.trail_s, self.unit, self.show_status = trail_s, unit, show_status
        self._trails: dict[int, deque[tuple[float, int, int]]] = {}

    def draw(self, frame: Any, result: Result, *, notes: Sequence[str] = ()) -> Array:
        """A copy of the frame (H, W, 3) uint8 RGB with boxes, ids, verdicts, speeds and trails.

        A bare BGR array in the place of the Frame gives a BGR array back. `notes` are further lines for the
        status plate in the lower left corner.
        """
        if not isinstance(frame, Frame):
            return as_frame(self.draw(as_frame(frame), result, notes=notes)).image  # swapped back
        image = self.background(frame)
        style = Style.of(frame.width, frame.height)
        self._update_trails(result)
        tracks = result.tracks
        # Far objects first, so that the labels of near ones lie on top.
        order = np.argsort(tracks.boxes[:, 3], kind="stable")
        for row in order:
            self._trail(image, int(tracks.ids[row]), style)
        edges = np.clip(np.nan_to_num(tracks.boxes), -MAX_PX, MAX_PX).astype(int).tolist()
        for row in order if result.has_instances else ():
            draw_instance(image, result, int(row), color_of(int(tracks.ids[row])), style.line)
        for row in order:
            if tracks.rotated.shape[1] and tracks.match[row] >= 0:
                continue
            self._box(image, edges[row], int(tracks.ids[row]), tracks.match[row] < 0, style)
        taken: list[tuple[int, int, int, int]] = []
        texts = _texts(result, self.unit)
        for row in order[::-1]:
            edge = color_of(int(tracks.ids[row]))
            small = tracks.boxes[row, 3] - tracks.boxes[row, 1] < 90 * style.text
            plate = label_bitmap(texts[row][:1] if small else texts[row], style.text, style.pad, edge)
            _place(image, plate, edges[row], taken)
        if self.show_status:
            self._status(image, result, notes, style)
        return image

    def background(self, frame: Frame) -> Array:
        """A copy of the frame (H, W, 3) to draw on."""
        return frame.image.copy()

    def _update_trails(self, result: Result) -> None:
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
        # A predicted box, not a detected one: corners only.
        arm = max(3, min(x2 - x1, y2 - y1) // 4)
        for x, y, dx, dy in ((x1, y1, 1, 1), (x2, y1, -1, 1), (x1, y2, 1, -1), (x2, y2, -1, -1)):
            cv2.line(image, (x, y), (x + dx * arm, y), color, style.line)
            cv2.line(image, (x, y), (x, y + dy * arm), color, style.line)

    def _status(self, image: Array, result: Result, notes: Sequence[str], style: Style) -> None:
        seconds = sum(result.timings.values())
        status = f"{result.time:7.2f} s   {len(result.tracks)} objects   {1000 * seconds:.1f} ms"
        lines = ((status, INK), *((note, GRAY) for note in notes))
        plate = label_bitmap(lines, style.text, style.pad, GRAY)
        blit(image, plate, style.pad, image.shape[0] - plate.shape[0] - style.pad)


def _texts(result: Result, unit: str) -> list[tuple[tuple[str, Color], ...]]:
    """The label lines of each track, in the order of the tracks."""
    speeds = result.display_speeds()
    by_task = {task: {row.id: row for row in verdicts} for task, verdicts in result.verdicts.items()}
    classes = by_task.pop("class", {})
    texts = []
    for i, label in zip(result.tracks.ids.tolist(), result.tracks.labels.tolist(), strict=True):
        emitted = classes[i].label if i in classes else label
        lines = [(f"{result.class_name(emitted) if emitted >= 0 else 'unknown'} {i}", INK)]
        lines += [verdict_text(task, rows[i], result) for task, rows in by_task.items() if i in rows]
        if i in speeds:
            lines.append(speed_text(speeds[i], unit))
        texts.append(tuple(lines))
    return texts


def verdict_text(task: str, verdict: Any, result: Result) -> tuple[str, Color]:
    """Label and confidence of a verdict, or the reason of an abstention: ("abstained: too small", gray)."""
    if verdict.label < 0 or verdict.reason is not Reason.OK:
        lead = "abstained" if task == "action" else f"{task} abstained"
        return f"{lead}: {verdict.reason.description}", GRAY
    return f"{result.class_name(verdict.label, task)} {100 * verdict.confidence:.0f}%", INK


def speed_text(speed: DisplaySpeed, unit: str) -> tuple[str, Color]:
    """ "52 +-2 km/h" with the age of a smoothed value, or why there is none: "no speed: uncertain"."""
    if speed.reason is not Reason.OK:
        return f"no speed: {speed.reason.description}", GRAY
    scale = UNITS[unit]
    text = f"{scale * speed.mps:.0f} +-{math.ceil(scale * speed.sigma):.0f} {unit}"
    return (f"{text}, {speed.age_s:.1f} s ago" if speed.kind == "smoothed" else text), INK


def _place(image: Array, plate: Array, box: Sequence[int], taken: list[tuple[int, int, int, int]]) -> None:
    """Puts a label above its box, else below, else inside: wherever it covers no other label."""
    high, wide = plate.shape[:2]
    x1, y1, _, y2 = box
    x = min(max(0, x1), max(0, image.shape[1] - wide))
    spots = [y1 - high, y2 + 1, y1 + 2, y2 - high - 2]
    inside = [y for y in spots if 0 <= y <= image.shape[0] - high] or [0]
    # A label that is taken covers one at y where both their columns and their rows overlap.
    covering = [t for t in taken if x < t[2] and t[0] < x + wide]
    y = next((y for y in inside if not any(y < t[3] and t[1] < y + high for t in covering)), inside[0])
    taken.append((x, y, x + wide, y + high))
    blit(image, plate, x, y)


def blit(image: Array, plate: Array, x: int, y: int) -> None:
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

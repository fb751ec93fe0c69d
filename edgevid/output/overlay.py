"""The overlay: boxes, labels, speeds and trails drawn over the image; abstentions show their reason.

Where labels are crowded they get shorter: "car 12 52±2", with "–" for what abstained, then "#12…". No label
covers another; one that finds no place leaves a white square at its box, and the status plate counts them.
"""

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
from edgevid.errors import InputError, check_choice
from edgevid.output.labels import GRAY, INK, PAPER, Color, Covered, Lines, blit, glyphs
from edgevid.types import KMH, Array, DisplaySpeed, Frame, Reason, Result, as_frame

UNITS = {"km/h": KMH, "mph": 2.2369363, "m/s": 1.0}
MAX_PX = 30_000  # Coordinates are clipped here: OpenCV's own end soon after
# From OKLab to linear RGB (Ottosson 2020): equal steps in OKLab look equal.
LMS = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728],
                [1, -0.0894841775, -1.2914855480]])  # fmt: skip
RGB = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010]])  # fmt: skip


@lru_cache(maxsize=4096)
def color_of(number: int) -> Color:
    """A color for an id: equally light for all, and far in hue from its neighbors (golden angle)."""
    hue = number * 2.399963  # the golden angle, in radians
    linear = np.clip(RGB @ (LMS @ (0.76, 0.14 * math.cos(hue), 0.14 * math.sin(hue))) ** 3, 0, 1)
    red, green, blue = np.round(255 * linear ** (1 / 2.2)).astype(int).tolist()
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


LIMBS = ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
         (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16))  # fmt: skip
"""Pairs of COCO's 17 key points that are joined (cocodataset.org, person_keypoints)."""
MIN_POINT = 0.5  # Confidence of a key point that is drawn


def draw_instance(image: Array, result: Result, row: int, color: Color, line: int) -> None:
    """Draws what there is of mask, rotated box and key points of a track that is detected now."""
    tracks, match = result.tracks, int(result.tracks.match[row])
    if match < 0:
        return
    if (mask := result.detections.masks[match] if match < len(result.detections) else None) is not None:
        high, wide = mask.pixels.shape
        part = image[mask.top : mask.top + high, mask.left : mask.left + wide]
        inside = mask.pixels.astype(bool)
        part[inside] = (part[inside] * 0.55 + np.array(color) * 0.45).astype(np.uint8)
    if tracks.rotated.shape[1]:
        points = np.clip(corners(tracks.rotated[row : row + 1])[0], -MAX_PX, MAX_PX).round().astype(np.int32)
        cv2.polylines(image, [points], True, color, line, cv2.LINE_AA)
    points = tracks.keypoints[row]
    visible = np.isfinite(points).all(1) & (points[:, 2] >= MIN_POINT)
    places = np.clip(np.nan_to_num(points[:, :2]), -MAX_PX, MAX_PX).round().astype(int)
    for a, b in LIMBS if len(points) == 17 else ():
        if visible[a] and visible[b]:
            cv2.line(image, places[a].tolist(), places[b].tolist(), color, line, cv2.LINE_AA)
    for place in places[visible].tolist():
        cv2.circle(image, place, line + 1, INK, -1, cv2.LINE_AA)
        cv2.circle(image, place, line + 1, color, 1, cv2.LINE_AA)


class Overlay:
    """Draws results; keeps the trails of the current tracks only."""

    def __init__(self, *, trail_s: float = 1.5, unit: str = "km/h", show_status: bool = True,
                 scores: bool = False) -> None:  # fmt: skip
        """`trail_s` seconds of each object's path are drawn; `unit` is "km/h", "mph" or "m/s".

        With `scores` the detector's score stands in each label.
        """
        require_opencv("Drawing")
        check_choice(unit, UNITS, "unit")
        self.trail_s, self.unit, self.show_status, self.scores = trail_s, unit, show_status, scores
        self._covered = Covered(0, 0)
        self._plates: dict[int, tuple[Lines, Array]] = {}  # the latest of each current track
        self._trails: dict[int, deque[tuple[float, int, int]]] = {}

    def draw(self, frame: Any, result: Result, *, notes: Sequence[str] = (), counts: Sequence[str] = ()) -> Array:
        """A copy of the frame (H, W, 3) uint8 RGB with boxes, ids, verdicts, speeds and trails.

        A bare BGR array in the place of the Frame gives a BGR array back. `notes` are further lines for the
        status plate in the lower left corner, `counts` those of a plate in the upper right one.
        """
        if not isinstance(result, Result):
            got = f"{type(frame).__name__} and {type(result).__name__}"
            raise InputError(
                f"Overlay.draw: expected a frame and its Result, got {got}; a pipeline gives both: "
                "for frame, result in Pipeline(detector).run(source): Overlay().draw(frame, result)"
            )
        if not isinstance(frame, Frame):
            return as_frame(self.draw(as_frame(frame), result, notes=notes, counts=counts)).image
        style = Style.of(frame.width, frame.height)
        self._covered = Covered(frame.width, frame.height)
        image = self.background(frame)
        if counts:
            plate = glyphs(style.text, style.pad).plate([(line, INK) for line in counts], GRAY)
            self._put(image, plate, frame.width - plate.shape[1] - style.pad, style.pad)
        self._update_trails(result, style)
        tracks = result.tracks
        # Far objects first, so that near ones lie on top.
        order = np.argsort(tracks.boxes[:, 3], kind="stable").tolist()
        ids, coasting = tracks.ids.tolist(), ((tracks.match < 0) & (not result.gated)).tolist()
        for number in [ids[row] for row in order if self.trail_s > 0 and ids[row] in self._trails]:
            points = np.array(self._trails[number])[:, 1:].astype(np.int32)
            cv2.polylines(image, [points], False, color_of(number), max(1, style.line // 2), cv2.LINE_AA)
        edges = np.clip(np.nan_to_num(tracks.boxes), -MAX_PX, MAX_PX).astype(int).tolist()
        for row in order if result.has_instances else ():
            draw_instance(image, result, row, color_of(ids[row]), style.line)
        for row in order:
            if coasting[row] or not tracks.rotated.shape[1]:
                _draw_box(image, edges[row], color_of(ids[row]), coasting[row], style.line)
        status = self._status(image, result, notes, style) if self.show_status else None
        left_out = self._labels(image, result, order, edges, style)
        if status is not None:  # again, over the lines; with the labels that have no place
            left = (f"{left_out} labels without room (white squares)", *notes)
            self._status(image, result, left, style) if left_out else self._put(image, *status)
        return image

    def _find_place(self, texts: Sequence[Lines], box: Sequence[int], number: int,
                    style: Style) -> tuple[Array, tuple[int, int], bool] | None:  # fmt: skip
        """The longest label that has room: its plate and place, and whether that is away from the box."""
        letters = glyphs(style.text, style.pad)
        for far, lines in [*((False, lines) for lines in texts), (True, texts[-1])]:
            size = letters.size(lines)
            if place := self._covered.place(*size, box, far=far):
                if (kept := self._plates.get(number)) is None or kept[0] != lines or kept[1].shape[:2] != size[::-1]:
                    kept = self._plates[number] = (lines, letters.plate(lines, color_of(number)))
                return kept[1], place, far
        return None

    def _labels(self, image: Array, result: Result, order: Sequence[int], edges: Sequence[Sequence[int]],
                style: Style) -> int:  # fmt: skip
        """Draws the labels, those of near objects first; returns how many found no place."""
        texts, ids = _texts(result, self.unit, self.scores), result.tracks.ids.tolist()
        placed, left_out = [], 0
        for row in order[::-1]:
            number, box = ids[row], edges[row]
            small = box[3] - box[1] < 90 * style.text
            if (found := self._find_place(texts[row][small:], box, number, style)) is None:
                left_out += 1
                y, x = max(0, box[1]), max(0, box[0])
                image[y : y + 3 * style.line, x : x + 3 * style.line] = INK
                continue
            plate, (x, y), far = found
            if far:  # a line leads from the box to its label; the labels cover it
                middle = (x + plate.shape[1] // 2, y + plate.shape[0] // 2)
                cv2.line(image, ((box[0] + box[2]) // 2, box[1]), middle, color_of(number), 1, cv2.LINE_AA)
            placed.append((plate, x, y))
        for plate, x, y in placed:
            blit(image, plate, x, y)
        return left_out

    def _put(self, image: Array, plate: Array, x: int, y: int) -> None:
        """Draws a plate that labels keep free of."""
        self._covered.take(max(0, x), max(0, y), plate.shape[1], plate.shape[0])
        blit(image, plate, x, y)

    def background(self, frame: Frame) -> Array:
        """(H, W, 3) RGB copy of the frame to draw on."""
        return frame.image.copy()

    def _update_trails(self, result: Result, style: Style) -> None:
        tracks = result.tracks
        present = set(tracks.ids.tolist())
        self._trails = {i: trail for i, trail in self._trails.items() if i in present}
        self._plates = {i: plate for i, plate in self._plates.items() if i in present}
        fine = np.isfinite(tracks.boxes).all(1)
        for i, (x1, _, x2, y2) in zip(tracks.ids[fine].tolist(), tracks.boxes[fine].tolist(), strict=True):
            trail = self._trails.setdefault(i, deque())
            point = (result.time, round((x1 + x2) / 2), round(y2))
            if len(trail) > 1 and math.dist(point[1:], trail[-2][1:]) < 8 * style.line:
                trail.pop()  # what moves by less is drawn as one step
            trail.append(point)
            while trail and result.time - trail[0][0] > self.trail_s:
                trail.popleft()

    def _status(self, image: Array, result: Result, notes: Sequence[str], style: Style) -> tuple[Array, int, int]:
        status = f"{result.time:7.2f} s   {len(result.tracks)} objects   {1000 * sum(result.timings.values()):.1f} ms"
        plate = glyphs(style.text, style.pad).plate([(status, INK), *((note, GRAY) for note in notes)], GRAY)
        placed = (plate, style.pad, image.shape[0] - plate.shape[0] - style.pad)
        self._put(image, *placed)
        return placed


def _draw_box(image: Array, box: Sequence[int], color: Color, coasting: bool, line: int) -> None:
    x1, y1, x2, y2 = box
    if not coasting:
        for grow in range(-(line // 2), (line + 1) // 2):  # upright: thin ones take less time than a thick one
            cv2.rectangle(image, (x1 - grow, y1 - grow), (x2 + grow, y2 + grow), color, 1)
        return
    arm = max(3, min(x2 - x1, y2 - y1) // 4)  # a predicted box, not a detected one: corners only
    for x, dx in ((x1, arm), (x2, -arm)):
        for y, dy in ((y1, arm), (y2, -arm)):
            cv2.polylines(image, [np.array([(x + dx, y), (x, y), (x, y + dy)])], False, color, line)


def _texts(result: Result, unit: str, scores: bool) -> list[list[Lines]]:
    """The labels of each track, in the order of the tracks: whole, in one line, and its number alone."""
    speeds, tracks = result.display_speeds(), result.tracks
    by_task = {task: {row.id: row for row in verdicts} for task, verdicts in result.verdicts.items()}
    classes = by_task.pop("class", {})
    texts: list[list[Lines]] = []
    columns = (column.tolist() for column in (tracks.ids, tracks.labels, tracks.scores))
    for i, label, score in zip(*columns, strict=True):
        emitted = classes[i].label if i in classes else label
        name = f"{result.class_name(emitted) if emitted >= 0 else 'unknown'} {i}"
        head = f"{name} {score:.2f}" if scores else name
        told = [(task, rows[i]) for task, rows in by_task.items() if i in rows]
        lines = [verdict_text(*one, result) for one in told if one[1].reason is not Reason.NOT_MEASURED]
        short = [text.rsplit(" ", 1)[0] if ink == INK else "–" for text, ink in lines]
        if i in speeds:
            lines.append(speed_text(speeds[i], unit))
            short.append("".join(lines[-1][0].split(" ")[:2]) if lines[-1][1] == INK else "–")
        tiny = f"#{i}…" if lines else f"#{i}"
        texts.append([[(head, INK), *lines], [(" ".join([head, *short]), INK)], [(tiny, INK)]])
    return texts


def verdict_text(task: str, verdict: Any, result: Result) -> tuple[str, Color]:
    """Label and confidence of a verdict, or the reason of an abstention: ("abstained: too small", gray)."""
    if verdict.label < 0 or verdict.reason is not Reason.OK:
        lead = "abstained" if task == "action" else f"{task} abstained"
        return f"{lead}: {verdict.reason.description}", GRAY
    return f"{result.class_name(verdict.label, task)} {100 * verdict.confidence:.0f}%", INK


def speed_text(speed: DisplaySpeed, unit: str) -> tuple[str, Color]:
    """Speed and standard error ("52 ±2 km/h"), a smoothed one's age, or why there is none."""
    if speed.reason is not Reason.OK:
        return f"no speed: {speed.reason.description}", GRAY
    scale = UNITS[unit]
    text = f"{scale * speed.mps:.0f} ±{math.ceil(scale * speed.sigma):.0f} {unit}"
    return (f"{text}, {speed.age_s:.1f} s ago" if speed.kind == "smoothed" else text), INK


def contact_sheet(images: Sequence[Array], *, columns: int = 3, width: int = 480) -> Array:
    """One image of several (H, W, 3) uint8, each `width` pixels wide, row by row."""
    sizes = [(width, round(image.shape[0] * width / image.shape[1])) for image in images]
    tall = max(high for _, high in sizes)
    sheet = np.full((-(-len(images) // columns) * tall, width * columns, 3), PAPER, np.uint8)
    for n, (image, size) in enumerate(zip(images, sizes, strict=True)):
        blit(sheet, cv2.resize(image, size, interpolation=cv2.INTER_AREA), n % columns * width, n // columns * tall)
    return sheet

"""The metric grid of a calibration, drawn on the ground; and a rendered street's overlay, with its true speeds."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from edgevid._opencv import cv2
from edgevid.errors import InputError
from edgevid.output.labels import FONT, INK, Covered, glyphs
from edgevid.output.overlay import MAX_PX, Overlay, Style
from edgevid.speed.calibration import CameraCalibration
from edgevid.synthetic.scene import Scene
from edgevid.types import F64, KMH, U8, Array, Frame, Result, scale_between
from edgevid.zones import Line, Zone

GRID = (255, 236, 150)


class GridOverlay(Overlay):
    """The overlay with the calibration's grid under it, where there is one, and with zones and lines."""

    def __init__(self, calibration: CameraCalibration | None, *, unit: str = "km/h", scores: bool = False,
                 shapes: Sequence[Zone | Line] = (), drawn_on: tuple[int, int] | None = None,
                 cell_m: float | None = None) -> None:  # fmt: skip
        """Cells of the grid are those of `draw_ground_grid`. `shapes` are drawn over the image; their pixels are those
        of frames of the size `drawn_on` (width, height; None: of any)."""
        super().__init__(unit=unit, scores=scores)
        self._calibration, self._shapes, self._drawn_on = calibration, shapes, drawn_on
        self._cell_m = cell_m
        self._grid: GroundGrid | None = None
        self._counts: Counter[tuple[str, str]] = Counter()

    def draw(self, frame: Any, result: Result, *, notes: Sequence[str] = (), counts: Sequence[str] = ()) -> Array:
        """As `Overlay.draw`; `counts` are by default crossings of each line by direction and the objects in
        each zone, from the events of the results so far."""
        if isinstance(frame, Frame):
            for event in result.events:
                if event.kind == "cross":
                    self._counts[event.place, event.direction] += 1
                elif event.kind in ("enter", "leave"):
                    self._counts[event.place, "inside"] = event.count or 0
            counts = counts or [self._counted(shape) for shape in self._shapes]
        return super().draw(frame, result, notes=notes, counts=counts)

    def _counted(self, shape: Zone | Line) -> str:
        ways = ("inside",) if isinstance(shape, Zone) else ("forward", "backward")
        return f"{shape.name}: " + ", ".join(f"{self._counts[shape.name, way]} {way}" for way in ways)

    def background(self, frame: Frame) -> U8:
        """(H, W, 3) RGB copy of the frame with shapes and, where the aspect ratio is the calibration's, the grid,
        and those in meters."""
        image, style, calibration = super().background(frame), Style.of(frame.width, frame.height), self._calibration
        if calibration is not None and scale_between(calibration.size, frame.size) is None:
            calibration = None  # another view
        if calibration is not None:
            if self._grid is None or self._grid.size != frame.size:
                self._grid = GroundGrid(calibration, frame.size, cell_m=self._cell_m, opacity=0.25)
            self._grid.paint(image)
        for shape in (shape for shape in self._shapes if calibration or not shape.ground):
            if isinstance(shape, Zone):
                rings = [self._pixels(ring, shape, frame.size) for ring in (shape.points, *shape.holes)]
                cv2.polylines(image, rings, True, GRID, style.line, cv2.LINE_AA)
                points = rings[0]
            else:
                points = self._pixels((shape.start, shape.end), shape, frame.size)
                _draw_line(image, points, style)
            plate = glyphs(style.text, style.pad).plate([(shape.name, GRID)], GRID)
            x, y = np.minimum(points[0], (frame.width - plate.shape[1], frame.height - plate.shape[0])).tolist()
            self._put(image, plate, x, y)
        return image

    def _pixels(self, corners: Any, shape: Zone | Line, size: tuple[int, int]) -> Array:
        """(K, 2) int32: corners of a shape in a frame of `size`."""
        points = np.array(corners, np.float64)
        if shape.ground and self._calibration is not None:
            points = self._calibration.scaled_to(size).to_image(points)
        elif self._drawn_on is not None:
            points = points * size / self._drawn_on
        return np.clip(np.round(np.nan_to_num(points)), -MAX_PX, MAX_PX).astype(np.int32)


def _draw_line(image: U8, points: Array, style: Style) -> None:
    """A line, with an arrow in its middle that points forward."""
    cv2.polylines(image, [points], False, GRID, style.line, cv2.LINE_AA)
    start, end = points.astype(float)
    along = (end - start) / max(1.0, float(np.hypot(*(end - start))))
    middle = (start + end) / 2
    tip = middle + 12 * style.pad * np.array([-along[1], along[0]])
    base, head = np.round([middle, tip]).astype(int).tolist()
    cv2.arrowedLine(image, base, head, GRID, style.line, cv2.LINE_AA, tipLength=0.4)


class GroundGrid:
    """The grid of a calibration, drawn once for images of one size: `paint` blends the pixels it changes."""

    def __init__(self, calibration: CameraCalibration, size: tuple[int, int], *, cell_m: float | None = None,
                 opacity: float = 0.45) -> None:  # fmt: skip
        """`size` (width, height) of the images, in the aspect ratio of the calibration's."""
        self.size = size
        calibration = calibration.scaled_to(size)
        # Each drawn value is a linear function of the image's: two drawings determine it.
        plain = (np.full((size[1], size[0], 3), value, np.uint8) for value in (0, 255))
        drawn = (draw_ground_grid(one, calibration, cell_m=cell_m, opacity=opacity) for one in plain)
        dark, bright = (one.ravel().astype(np.uint32) for one in drawn)
        self._at = np.flatnonzero((dark != 0) | (bright != 255))
        dark, bright = dark[self._at], bright[self._at]
        self._factor = ((bright - dark) * 256 // 255).astype(np.uint16)
        self._offset = (dark * 256 + 255).astype(np.uint16)

    def paint(self, image: U8) -> None:
        """Draws the grid into `image` (H, W, 3) uint8 RGB, C-contiguous, of this grid's size."""
        values = image.reshape(-1)
        changed = values.take(self._at).astype(np.uint16)
        changed *= self._factor
        changed += self._offset
        changed >>= 8
        values[self._at] = changed


def draw_ground_grid(image: U8, calibration: CameraCalibration, *, cell_m: float | None = None,
                     opacity: float = 0.45) -> U8:  # fmt: skip
    """A copy of `image` (H, W, 3) uint8 RGB with a metric grid inside the calibration's region. Cells are squares of
    `cell_m` meters (None: about 8 along the longer side, in round meters). Lines are labeled with their meters."""
    over = image.copy()
    style = Style.of(image.shape[1], image.shape[0])
    lines = grid_lines(calibration, cell_m=cell_m)
    for line in lines:
        cv2.polylines(over, [np.round(line.points).astype(np.int32)], False, GRID, 1, cv2.LINE_AA)
    outline = np.round(np.array(calibration.region.exterior.coords)).astype(np.int32)
    cv2.polylines(over, [outline], True, GRID, style.line, cv2.LINE_AA)
    drawn = cv2.addWeighted(over, opacity, image, 1 - opacity, 0)
    covered = Covered(image.shape[1], image.shape[0])
    for text, (x, y) in [(line.label, line.at) for line in lines if line.label]:
        place = round(x) + 3, round(y) - 3
        (wide, high), low = cv2.getTextSize(text, FONT, 0.75 * style.text, 3)
        if not covered.take(place[0], place[1] - high, wide, high + low):
            continue  # far lines lie too close to each other
        for color, thick in (((0, 0, 0), 3), (GRID, 1)):
            cv2.putText(drawn, text, place, FONT, 0.75 * style.text, color, thick, cv2.LINE_AA)
    return np.asarray(drawn)


class GridLine(NamedTuple):
    """A part of a line of the grid that lies inside the calibration's region."""

    points: F64  # (K, 2) pixels
    label: str  # Its meters ("12 m"); empty for the further parts of a line
    at: tuple[float, float]  # Where the label belongs, in pixels

    def as_json(self) -> dict[str, Any]:
        """The line in JSON, rounded to a tenth of a pixel."""
        points, at = np.round(self.points, 1).tolist(), np.round(self.at, 1).tolist()
        return {"points": points, "label": self.label, "at": at}


def grid_lines(calibration: CameraCalibration, *, cell_m: float | None = None) -> list[GridLine]:
    """The lines of a metric grid on the ground, in pixels; cells are those of `draw_ground_grid`."""
    if cell_m is not None and not cell_m > 0:
        raise InputError(f"grid: expected cell_m above 0, got {cell_m}")
    corners = calibration.to_ground(np.array(calibration.region.exterior.coords))
    low, high = corners.min(0), corners.max(0)
    step = round_cell(float((high - low).max()) / 8) if cell_m is None else float(cell_m)
    found = []
    for axis in (0, 1):
        for value in np.arange(math.ceil(low[axis] / step) * step, high[axis] + 1e-9, step):
            meters = np.full((200, 2), value)  # along x = value (axis 0) or y = value (axis 1)
            meters[:, 1 - axis] = np.linspace(low[1 - axis], high[1 - axis], 200)
            path = calibration.to_image(meters)
            inside = calibration.contains(path) & np.isfinite(path).all(1)
            if len(visible := path[inside]):
                spot = visible[np.argmax(visible[:, 1])] if axis == 0 else visible[0]
                at = (float(spot[0]), float(spot[1]))
                label = f"{value:g} m"
                for a, b in np.flatnonzero(np.diff(np.pad(inside, 1).astype(int))).reshape(-1, 2).tolist():
                    if b - a < 2:
                        continue
                    found.append(GridLine(path[a:b], label, at))
                    label = ""
    return found


def round_cell(meters: float) -> float:
    """The closest of ..., 0.5, 1, 2, 5, 10, ... meters.

    >>> round_cell(4.4)
    5.0
    """
    unit = 10.0 ** math.floor(math.log10(max(meters, 1e-6)))
    return float(unit * min((1, 2, 5, 10), key=lambda k: abs(k * unit - meters)))


class TruthOverlay(GridOverlay):
    """Draws results and shapes, and in white each object's true contact point and speed in km/h."""

    def __init__(self, scene: Scene, calibration: CameraCalibration | None = None, shapes: Sequence[Zone | Line] = (),
                 scores: bool = False) -> None:  # fmt: skip
        super().__init__(calibration, shapes=shapes, scores=scores)
        self._scene = scene

    def draw(self, frame: Frame, result: Result, *, notes: Sequence[str] = (), counts: Sequence[str] = ()) -> Array:
        """A copy of the frame with the results and the ground truth."""
        image = super().draw(frame, result, notes=(*notes, "white: ground truth"), counts=counts)
        truth, style = self._scene.at(frame.time), Style.of(frame.width, frame.height)
        for box, speed in zip(truth.boxes, truth.speeds, strict=True):
            x, y = int((box[0] + box[2]) / 2), int(box[3])
            cv2.circle(image, (x, y), 3, INK, -1, cv2.LINE_AA)
            plate = glyphs(max(0.36, 0.8 * style.text), 1).plate([(f"true {KMH * speed:.0f}", INK)], INK)
            if self._covered.take(x + 6, y + 2, plate.shape[1], plate.shape[0]):
                image[y + 2 : y + 2 + plate.shape[0], x + 6 : x + 6 + plate.shape[1]] = plate
        return image

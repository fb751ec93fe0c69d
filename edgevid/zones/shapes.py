"""Zone and Line: what is drawn on a camera's image, checked once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, get_args

import shapely
from annotated_types import Ge, Le, Len

from edgevid.errors import FieldError, InputError
from edgevid.files.fields import Count, Positive, one_of
from edgevid.files.schema import Checked

FARTHEST = 1e6  # No corner of a zone is farther from the origin, in pixels or meters
Anchor = Literal[
    "bottom_center", "bottom_left", "bottom_right", "center", "center_left", "center_right", "top_center",
    "top_left", "top_right",
]  # fmt: skip
"""The point of its box where an object is (supervision's `Position`, in lower case)."""
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)
Coordinate = Annotated[float, Ge(-FARTHEST), Le(FARTHEST)]
Point = Annotated[tuple[Coordinate, Coordinate], Checked(f"a point [x, y], each at most {FARTHEST:g} from 0")]
Corners = Annotated[Sequence[Point], Len(3), Checked("at least 3 points [[x, y], ...], each at most 1e+06 from 0")]
Shape = TypeVar("Shape", bound="Zone | Line")


@dataclass(frozen=True)
class Zone:
    """A polygon, and the events that it emits."""

    name: str  # Different from those of other zones and lines
    points: Corners  # Corners in frame pixels, in meters where `ground`, in shares of the frame where `relative`
    ground: bool = False  # Whether the points are in meters
    dwell_s: Positive | None = None  # A "dwell" event once an object has been inside for this long
    stopped_s: Positive | None = None  # A "stopped" event once an object inside has been stationary for this long
    direction: Annotated[float, Ge(-360), Le(360)] | None = None
    """Allowed direction of travel, degrees from +x towards +y; "wrong-way" for the opposite one."""
    max_occupancy: Count | None = None  # "occupancy-above" events once more are inside, "occupancy-normal" when not
    debounce_s: Positive = 0.2  # How long an object must be on the other side of the edge before it has entered or left
    relative: bool = False  # Whether the points are shares of the frame's width and height, 0 to 1
    holes: Sequence[Corners] = ()  # Polygons inside that do not belong to the zone, each as `points`
    anchor: Anchor = "bottom_center"  # The point of its box where an object is

    def __post_init__(self) -> None:
        name, rings = f"zone {self.name!r}", (self.points, *self.holes)
        shape = shapely.Polygon(self.points) if len(self.points) >= 3 else None
        if shape is None or not shape.is_valid or shape.area == 0:
            expected = "at least 3 corners of a polygon that does not cross itself"
            raise FieldError(name, "points", expected, list(self.points))
        whole = all(len(hole) >= 3 for hole in self.holes)
        if not (whole and shapely.Polygon(self.points, self.holes).is_valid):
            expected = "polygons inside the zone that cross neither themselves nor each other"
            raise FieldError(name, "holes", expected, [list(hole) for hole in self.holes])
        _check_unit(name, "points", [point for ring in rings for point in ring], self)


@dataclass(frozen=True)
class Line:
    """A line whose crossings are counted."""

    name: str  # Different from those of other zones and lines
    start: Point  # In frame pixels, in meters where `ground`, in shares of the frame where `relative`
    end: Point  # Forward is from the left to the right of start -> end in the image
    ground: bool = False  # Whether the points are in meters
    relative: bool = False  # Whether the points are shares of the frame's width and height, 0 to 1
    anchor: Anchor = "bottom_center"  # The point of its box where an object is

    def __post_init__(self) -> None:
        if tuple(self.start) == tuple(self.end):
            raise FieldError(f"line {self.name!r}", "end", "a point other than the start", self.end)
        _check_unit(f"line {self.name!r}", "end", [self.start, self.end], self)


def _check_unit(name: str, key: str, points: Sequence[tuple[float, float]], shape: Zone | Line) -> None:
    """Points in pixels that all lie within one are shares of the frame's size; those should say so."""
    if shape.anchor not in ANCHORS:
        raise FieldError(name, "anchor", one_of(ANCHORS), shape.anchor)
    if shape.relative and shape.ground:
        raise FieldError(name, "relative", "either relative or ground, not both", True)
    shares = all(0 <= value <= 1 for point in points for value in point)
    if shape.relative and not shares:
        raise FieldError(name, key, "shares of the frame from 0 to 1 (relative = true)", list(points))
    if shares and not shape.relative and not shape.ground:
        expected = "frame pixels; relative = true for shares of the frame's size, ground = true for meters"
        raise FieldError(name, key, expected, list(points))


def in_pixels(shapes: Iterable[Shape], size: tuple[int, int] | None) -> tuple[Shape, ...]:
    """The shapes with relative points times the frames' (width, height); InputError for those without a size."""
    shapes, (wide, high) = tuple(shapes), size or (0, 0)
    if size is None and (name := next((repr(one.name) for one in shapes if one.relative), "")):
        raise InputError(f"{name} is in shares of the frame: give the frame's size: ZoneMonitor(..., "
                         "size=(width, height))")  # fmt: skip
    return tuple(
        mapped(one, lambda points: [(x * wide, y * high) for x, y in points], relative=False) if one.relative else one
        for one in shapes
    )


def mapped(shape: Any, move: Callable[[Any], Sequence[Any]], **changes: Any) -> Any:
    """The shape with all its points moved, K points to K points, and other `changes`."""
    if isinstance(shape, Line):
        start, end = move((shape.start, shape.end))
        return replace(shape, start=start, end=end, **changes)
    return replace(shape, points=move(shape.points), holes=[*map(move, shape.holes)], **changes)

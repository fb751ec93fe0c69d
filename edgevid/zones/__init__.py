"""Zones and lines: who entered, left, stayed, crossed, drove the wrong way or stopped.

Each object is one point, by default the middle of its box's bottom edge, where it touches the ground; of a
rotated box, which is a footprint that a camera far above detects, its center. Only observed points count: a
predicted box neither crosses a line nor stays in a zone (kernels/reference/zones.py is the specification)."""

from edgevid.zones.monitor import ToGround, Total, ZoneEvent, ZoneEventKind, ZoneMonitor, ZoneMonitorLike
from edgevid.zones.shapes import Anchor, Line, Zone, in_pixels, mapped

__all__ = [
    "Anchor", "Line", "ToGround", "Total", "Zone", "ZoneEvent", "ZoneEventKind", "ZoneMonitor",
    "ZoneMonitorLike", "in_pixels", "mapped",
]  # fmt: skip

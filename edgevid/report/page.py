"""A report as one HTML page that loads nothing from elsewhere; its plots are SVG."""

import base64
import math
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np

from edgevid.errors import InputError
from edgevid.output.ground_grid import round_cell
from edgevid.report.store import CELL, Report, View
from edgevid.speed import CameraCalibration, read_calibration
from edgevid.types import Array
from edgevid.video.images import read_image, to_jpeg

LEVELS = 8  # Of a heat map; the square root of the time shows rare ways too
WORDS = ("what", "place", "details", "to")
CELLS = 64  # Along the image's width, and about that along the ground's longer side


class HeatMap(NamedTuple):
    """Seconds that objects spent in each cell, (rows, columns); of the image (pixels) or ground (meters)."""

    plane: str
    seconds: Array
    cell: float


def heat_maps(report: Report, camera: str, size: tuple[int, int] | None,
              calibration: CameraCalibration | None) -> list[HeatMap]:  # fmt: skip
    """The heat map on the image and, with a calibration, on the ground. An object goes in a straight line, at
    constant speed, from one box of its events to the next: from its first box over those where it crossed a
    line or entered a zone to its last. `size` is that of the image."""
    query = "SELECT x, y, seconds FROM steps WHERE camera = ? UNION ALL SELECT 0, 0, 0"
    x, y, seconds = np.array(report.store.rows(query, camera), float).T
    parts = np.stack(np.meshgrid(*[(np.arange(4) + 0.5) / 4] * 2), -1).reshape(-1, 2)
    cells = np.stack([x, y], 1)[:, None] + parts  # a cell may cover more than one on the ground
    points = CELL * cells.reshape(-1, 2)
    weights = np.repeat(seconds / len(parts), len(parts))
    width, height = size or (calibration.size if calibration else np.ceil(points.max(0)).astype(int).tolist())
    found = [_binned("image", points, weights, np.zeros(2), np.array([width, height]), width / CELLS)]
    if calibration is not None:
        calibration = calibration.scaled_to((width, height))
        region = calibration.to_ground(np.array(calibration.region.exterior.coords))
        low, extent = region.min(0), np.ptp(region, 0)
        inside = calibration.contains(points)
        found.append(_binned("ground", calibration.to_ground(points[inside]), weights[inside], low, extent,
                             round_cell(float(extent.max()) / CELLS)))  # fmt: skip
    return found


def _binned(plane: str, points: Array, weights: Array, origin: Array, extent: Array, cell: float) -> HeatMap:
    shape = [max(1, math.ceil(v / cell)) for v in extent[::-1]]
    edges: Any = [np.arange(n + 1) * cell + start for n, start in zip(shape, origin[::-1], strict=True)]
    return HeatMap(plane, np.histogram2d(points[:, 1], points[:, 0], edges, weights=weights)[0], cell)


def page(report: Report, calibration: Path | None = None, image: Path | None = None) -> str:
    """The HTML of a report; calibration and image are those of its one camera. InputError for these where there
    are more cameras, and where they cannot be read."""
    if len(report.cameras) > 1 and (calibration or image):
        raise InputError("--calibration, --image: of one camera; choose it with --camera")
    pixels = read_image(image) if image else None
    if image and pixels is None:
        raise InputError(f"--image: expected an image such as a JPEG, got {image}")
    plane = read_calibration(calibration) if calibration else None
    size = None if pixels is None else (pixels.shape[1], pixels.shape[0])
    photo = "" if pixels is None else base64.b64encode(to_jpeg(pixels, qscale=4)).decode()
    sections, rows_of = [], report.store.rows
    for camera in report.cameras:
        cards, *rest = report.views(camera)
        plots = rows_of("SELECT title, kind, series, number, v, low, high FROM plots WHERE camera = ?", camera)
        starts = rows_of("SELECT local_text(start), observed FROM coverage WHERE camera = ? "
                         "AND start IS NOT NULL ORDER BY start", camera)  # fmt: skip
        parts = {
            "cards": "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>"
                             for value, what in cards.rows),
            "plots": "".join(_plot(title if title != "Speed" else f"Speed, {report.unit}", list(rows), starts)
                             for title, rows in groupby(plots, lambda row: row[0])),
            "plots maps": "".join(_heat(one, photo) for one in heat_maps(report, camera, size, plane)),
        }  # fmt: skip
        drawn = "".join(f'<div class="{name}">{html}</div>' for name, html in parts.items())
        sections.append(f"<section><h2>{escape(camera)}</h2>{drawn}{''.join(map(_table, rest))}</section>")
    return Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(", ".join(report.cameras)), zone=report.zone, sections="".join(sections),
        every=rows_of("SELECT (until - utc)::VARCHAR FROM slots ORDER BY utc")[0][0],
    )  # fmt: skip


def _plot(title: str, rows: list[tuple[Any, ...]], starts: list[tuple[str, float]]) -> str:
    """Stacked bars, or a step per value with its band, over the intervals."""
    n, kind = len(starts), rows[0][1]
    names = list(dict.fromkeys(row[2] for row in rows))
    values = np.full((3, len(names), n), np.nan)  # value, low, high
    for _, _, series, at, *found in rows:
        values[:, names.index(series), at] = [math.nan if v is None else v for v in found]
    if kind == "bars":
        values[2] = np.cumsum(np.nan_to_num(values[0]), 0)
        values[1] = values[2] - values[0]
    low, high = (np.nanmin(values), np.nanmax(values)) if kind == "bands" else (0.0, np.nanmax(values))
    step = round_cell(max((high - low) / 4, 1e-3))
    base = step * math.floor(low / step)
    top = max(step, step * math.ceil((high - base) / step - 1e-9))
    scaled = (values - base) / top
    left, wide = (0.08, 0.84) if kind == "bars" else (0, 1)
    shapes = [_path("away", "", (f"M{i} 0h1v1h-1z" for i, (_, share) in enumerate(starts) if share < 0.995))]
    for k in range(len(names)):
        areas = [i for i in range(n) if scaled[2, k, i] > scaled[1, k, i]]
        lows, highs, color = scaled[1, k], scaled[2, k], f"c{k % 4}"
        parts = (f"M{i + left:g} {lows[i]:.4f}h{wide}V{highs[i]:.4f}h-{wide}z" for i in areas)
        shapes.append(_path(kind, color, parts))
        if kind != "bars":
            shapes.append(_path("step", color, (f"M{i} {v:.4f}h1" for i, v in enumerate(scaled[0, k]) if v == v)))
    for i, (start, share) in enumerate(starts):
        known = [(name, v) for name, v in zip(names, values[0, :, i], strict=True) if v == v]
        shown = ", ".join(f"{escape(name)} {v:.4g}" for name, v in known)
        shapes.append(f"<rect x={i} width=1 height=1><title>{start}: {shown}; observed {share:.0%}</title></rect>")
    first = {start[:10]: i for i, (start, _) in reversed(list(enumerate(starts)))}  # of each day
    whole = all(start[17:19] == "00" for start, _ in starts)
    label = slice(5, 10) if len(first) > 2 else slice(11, 16 if whole else 19)
    marks = sorted(first.values()) if len(first) > 2 else range(n)
    ticks = "".join(f'<u style="bottom:{100 * k * step / top:.2f}%">{base + k * step:.4g}</u>'
                    for k in range(round(top / step) + 1))  # fmt: skip
    labels = "".join(f'<i style="left:{100 * i / n:.2f}%">{starts[i][0][label]}</i>'
                     for i in marks[:: math.ceil(len(marks) / 8)])  # fmt: skip
    legend = "".join(f'<span class="c{k % 4}">{escape(name)}</span>' for k, name in enumerate(names))
    shape = f'viewBox="0 0 {n} 1" preserveAspectRatio=none role=img aria-label="{escape(title)}"'
    drawn = f'<svg {shape}><g transform="matrix(1 0 0 -1 0 1)">{"".join(shapes)}</g></svg>'
    return _figure(title, legend, f"<div class=plot>{ticks}{drawn}{labels}</div>")


def _figure(title: str, more: str, inner: str) -> str:
    return f"<figure><figcaption><b>{escape(title)}</b>{more}</figcaption>{inner}</figure>"


def _path(kind: str, color: str, parts: Any) -> str:
    return f'<path class="{kind} {color}" d="{"".join(parts)}"/>'


def _heat(one: HeatMap, photo: str) -> str:
    rows, columns = one.seconds.shape
    level = np.ceil(LEVELS * np.sqrt(one.seconds / max(one.seconds.max(), 1e-9)))
    cells, unit = (level, "px") if one.plane == "image" else (level[::-1], "m")
    paths = []
    if photo and one.plane == "image":
        shape = f"width={columns} height={rows} preserveAspectRatio=none"
        paths.append(f'<image {shape} href="data:image/jpeg;base64,{photo}"/>')
    for k in range(1, LEVELS + 1):
        squares = "".join(f"M{x} {y}h1v1h-1z" for y, x in np.argwhere(cells == k))
        paths.append(f'<path class=heat fill-opacity={k / LEVELS} d="{squares}"/>')
    size = f"{columns * one.cell:.0f} x {rows * one.cell:.0f} {unit}, a cell is {one.cell:.3g} {unit}"
    drawn = f'<svg viewBox="0 0 {columns} {rows}" role=img aria-label="heat map">{"".join(paths)}</svg>'
    return _figure(f"Where objects were, on the {one.plane}", f"<small>{size}</small>", drawn)


def _table(view: View) -> str:
    def cells(kind: str, row: tuple[str, ...]) -> str:
        words = (n == 0 or name in WORDS for n, name in enumerate(view.head))
        made = (f"<{kind}{' class=word' * word}>{escape(text)}" for word, text in zip(words, row, strict=True))
        return "<tr>" + "".join(made)

    body = "".join(cells("td", row) for row in view.rows)
    note = f"<p class=quiet>{escape(view.note)}</p>" if view.note else ""
    inner = f"<div class=wide><table><thead>{cells('th', view.head)}<tbody>{body}</table></div>{note}"
    if len(view.rows) > 30:
        return f"<details><summary>{escape(view.title)}, {len(view.rows)} rows</summary>{inner}</details>"
    return f"<h3>{escape(view.title)}</h3>{inner}"

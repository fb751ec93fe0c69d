"""How values show themselves: short in a terminal, as a table or an image in a notebook (Jupyter)."""

import struct
import zlib
from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_ROWS = 8  # Rows of a table in a terminal; a notebook shows three times as many
MOST_WIDE = 1280  # Pixels of an image in a notebook; a wider one is shown at every second, third, ... pixel.


def text_table(title: str, rows: Iterable[Mapping[str, Any]], count: int) -> str:
    """A title and the first rows, in columns, and how many more there are."""
    shown = list(islice(rows, MOST_ROWS))
    if not shown:
        return title
    columns = [[name, *(_cell(row[name]) for row in shown)] for name in shown[0]]
    wide = [[text.ljust(max(map(len, column))) for text in column] for column in columns]
    lines = [title, *("  " + "  ".join(line).rstrip() for line in zip(*wide, strict=True))]
    return "\n".join(lines + [f"  ... {count - len(shown)} more"] * (count > len(shown)))


def html_table(title: str, rows: Iterable[Mapping[str, Any]], count: int) -> str:
    """The same in HTML."""
    shown = list(islice(rows, 3 * MOST_ROWS))
    body = "".join(_row("td", map(_cell, row.values())) for row in shown)
    head = _row("th", shown[0]) if shown else ""
    more = f"<p>... {count - len(shown)} more</p>" if count > len(shown) else ""
    return f"<table><caption>{escape(title)}</caption>{head}{body}</table>{more}"


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as a PNG."""
    step = -(-image.shape[1] // MOST_WIDE)
    image = image[::step, ::step]
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # a row begins with its filter: none
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _cell(value: Any) -> str:
    """A value in a few characters."""
    if value is None:
        return ""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}" if value.ndim > 1 or len(value) > 6 else _cell(value.tolist())
    if isinstance(value, float):
        return f"{value:.4g}" if value == value else ""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_cell, value))
    return str(getattr(value, "name", value))[:60]

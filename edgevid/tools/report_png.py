"""A comparison as one picture: the verdict, its figures, and the worst frames side by side."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np

from edgevid.tools.compare import ParityReport, shown
from edgevid.tools.compare_pair import Pair, Top
from edgevid.tools.report_marks import Mark, marks
from edgevid.types import Array

Color = tuple[int, int, int]
PAPER, INK, QUIET = (17, 20, 24), (232, 235, 239), (154, 164, 178)
GOOD, BAD = (61, 220, 151), (255, 107, 116)
KINDS: dict[str, tuple[Color, int]] = {
    "alike": ((25, 179, 138), 1), "lost": ((255, 61, 74), 3), "added": ((255, 163, 26), 3), "ghost": (INK, 1),
}  # fmt: skip
WIDTH, EDGE, GAP = 1400, 28, 12
HIGH = 520
"""Most lines of one frame's picture."""
FONT = cv2.FONT_HERSHEY_SIMPLEX


def sheet(report: ParityReport) -> Array:
    """(H, WIDTH, 3) uint8 RGB."""
    worst = [pair for pair in report.worst if pair.severity > (0.0, 0.005)]
    parts = [_head(report), *(_pair(pair, report) for pair in worst)]
    return np.concatenate([*parts, np.full((EDGE, WIDTH, 3), PAPER, np.uint8)])


def _head(report: ParityReport) -> Array:
    colour, word = (GOOD, "PASSED") if report.passed else (BAD, "REFUSED")
    lines = textwrap.wrap(report.sentence() + ".", 150)
    facts = [f"agreement {shown(report.agreement)}", f"floor {shown(report.floor)}"]
    facts += [f"{report.unchanged} of {report.frames} frames without a difference"]
    if report.task.kind == "detect":
        more = report.task.more
        facts.append(f"at IoU 0.9 {shown(more['agreement at IoU 0.9'])}")
        facts.append(f"score drift {more['score drift, mean size']:.3f}")
    strip = np.full((132 + 26 * len(lines), WIDTH, 3), PAPER, np.uint8)
    strip[20 : 96 + 26 * len(lines), EDGE : EDGE + 6] = colour
    _write(strip, f"{report.names[1]} against {report.names[0]}", (EDGE + 22, 44), 0.85, INK, 2)
    _write(strip, word, (EDGE + 22, 78), 0.75, colour, 2)
    _write(strip, "   ".join(facts), (EDGE + 150, 77), 0.55, INK, 1)
    for n, line in enumerate(lines):
        _write(strip, line, (EDGE + 22, 108 + 26 * n), 0.52, QUIET, 1)
    if report.task.kind in ("detect", "pose"):
        x = EDGE + 22
        for kind, words in (
            ("alike", "both"),
            ("lost", "only A"),
            ("added", "only B"),
            ("ghost", "missing here"),
        ):
            y = 112 + 26 * len(lines)
            cv2.rectangle(strip, (x, y), (x + 16, y + 11), KINDS[kind][0], 2)
            _write(strip, words, (x + 24, y + 11), 0.5, QUIET, 1)
            x += 110
    return strip


def _pair(pair: Pair, report: ParityReport) -> Array:
    """One frame twice, under its name."""
    wide = (WIDTH - 2 * EDGE - GAP) // 2
    image = pair.given.image
    scale = min(wide / image.shape[1], HIGH / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    strip = np.full((size[1] + 80, WIDTH, 3), PAPER, np.uint8)
    _write(strip, f"{pair.name}: {pair.words}", (EDGE, 38), 0.55, INK, 1)
    for n, (found, what) in enumerate(
        zip(marks(pair, report.classes), (pair.reference, pair.candidate), strict=True)
    ):
        drawn = small.copy()
        for mark in sorted(found, key=lambda m: m.kind != "alike"):
            _draw(drawn, mark, scale)
        said = f"{what.name} {what.probability:.2f}" if isinstance(what, Top) else ""
        left = EDGE + n * (wide + GAP)
        _write(strip, f"{'AB'[n]}  {report.names[n]}  {said}".rstrip(), (left, 62), 0.45, QUIET, 1)
        strip[70 : 70 + size[1], left : left + size[0]] = drawn
    return strip


def _draw(image: Array, mark: Mark, scale: float) -> None:
    colour, line = KINDS[mark.kind]
    x1, y1, x2, y2 = (round(v * scale) for v in mark.box)
    if mark.kind == "ghost":
        _dashed(image, x1, y1, x2, y2)
        return
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
    if mark.label:
        _plate(image, mark.label, (x1, y1 if y1 >= 20 else y1 + 20), colour, (16, 18, 20))


def _dashed(image: Array, x1: int, y1: int, x2: int, y2: int) -> None:
    cv2.rectangle(image, (x1, y1), (x2, y2), (60, 60, 60), 2)  # seen on white too
    for x in range(x1, x2, 10):
        for y in (y1, y2):
            cv2.line(image, (x, y), (min(x + 5, x2), y), INK, 1)
    for y in range(y1, y2, 10):
        for x in (x1, x2):
            cv2.line(image, (x, y), (x, min(y + 5, y2)), INK, 1)


def _plate(image: Array, words: str, corner: tuple[int, int], back: Color, ink: Color) -> None:
    """Words on a filled plate whose lower left corner this is, kept inside the picture."""
    (wide, _), _ = cv2.getTextSize(words, FONT, 0.45, 1)
    x, y = max(0, min(corner[0], image.shape[1] - wide - 8)), min(corner[1], image.shape[0] - 1)
    cv2.rectangle(image, (x, y - 20), (x + wide + 8, y), back, -1)
    _write(image, words, (x + 4, y - 6), 0.45, ink, 1)


def _write(image: Array, words: str, place: tuple[int, int], size: float, ink: Color, thick: int) -> None:
    plain = words.encode("ascii", "replace").decode()  # OpenCV's letters are those of ASCII
    cv2.putText(image, plain, place, FONT, size, ink, thick, cv2.LINE_AA)

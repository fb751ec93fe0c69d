"""Labels: text put together from an atlas of glyphs, in places where none covers another."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from edgevid._opencv import cv2
from edgevid.types import Array

Color = tuple[int, int, int]
INK, PAPER, GRAY = (255, 255, 255), (20, 22, 26), (190, 190, 190)
FONT = 2  # cv2.FONT_HERSHEY_DUPLEX
Lines = Sequence[tuple[str, Color]]  # Text and its color
CELL = 4  # Pixels of a side of the squares in which it is noted what is covered


class Glyphs:
    """The letters of one size, each drawn once into one image as wide as all of them."""

    def __init__(self, text: float, pad: int) -> None:
        self.pad, self._text, self._thick = pad, text, max(1, round(text * 1.4))
        (_, high), low = cv2.getTextSize("Ag", FONT, text, self._thick)
        self.base, self.step = high + pad, high + low + pad
        self._shades = np.zeros((self.step, 0), np.uint8)
        self._places: dict[str, tuple[int, int]] = {}
        self._wide: dict[str, int] = {}
        for letter in map(chr, range(32, 127)):
            self._add(letter)
        plus, minus = (self._shades[:, slice(*self._places[letter])].copy() for letter in "+-")
        rise = max(1, round(0.12 * high))
        plus[:-rise] = plus[rise:]
        edge = min(plus.shape[1], minus.shape[1])
        rows = slice(self.base - max(2, high // 2), self.base)  # the minus moves onto the line of writing
        plus[rows, :edge] = np.maximum(plus[rows, :edge], np.roll(minus, round(0.36 * high), 0)[rows, :edge])
        self._keep("±", plus)

    def _add(self, letter: str) -> None:
        """Draws a letter; as wide as it makes a word that has it inside."""
        shown = letter if letter.isprintable() else "?"  # half of a surrogate pair would end the process
        (with_it, _), _ = cv2.getTextSize(f"n{shown}n", FONT, self._text, self._thick)
        (without, _), _ = cv2.getTextSize("nn", FONT, self._text, self._thick)
        image = np.zeros((self.step, max(1, with_it - without)), np.uint8)
        cv2.putText(image, shown, (0, self.base), FONT, self._text, 255, self._thick, cv2.LINE_AA)
        self._keep(letter, image)

    def _keep(self, letter: str, image: Array) -> None:
        start = self._shades.shape[1]
        self._shades = np.concatenate([self._shades, image], 1)
        self._places[letter], self._wide[letter] = (start, start + image.shape[1]), image.shape[1]
        colored.cache_clear()

    def size(self, lines: Lines) -> tuple[int, int]:
        """(width, height) of the plate of lines of text."""
        try:
            wide = max(sum(map(self._wide.__getitem__, text)) for text, _ in lines)
        except KeyError as missing:  # a letter that is met for the first time
            self._add(missing.args[0])
            return self.size(lines)
        return wide + 3 * self.pad + 1, self.step * len(lines) + self.pad

    def plate(self, lines: Lines, edge: Color) -> Array:
        """(h, w, 3) uint8: the lines of text on a dark plate with a colored left edge."""
        wide, high = self.size(lines)
        plate = np.empty((high, wide, 3), np.uint8)
        cv2.rectangle(plate, (0, 0), (wide, high), PAPER, -1)  # np.full takes ten times as long
        cv2.rectangle(plate, (0, 0), (self.pad, high), edge, -1)
        left = 2 * self.pad + 1
        for n, (text, ink) in enumerate(lines):
            if text:
                written = line_of(self, text, ink)
                plate[n * self.step : (n + 1) * self.step, left : left + written.shape[1]] = written
        return plate


glyphs = lru_cache(maxsize=8)(Glyphs)


@lru_cache(maxsize=8)
def colored(letters: Glyphs, ink: Color) -> dict[str, Array]:
    """Views of each letter in the atlas, in a color on the plate's."""
    share = letters._shades[..., None] / 255
    atlas = np.asarray(np.round(share * ink + (1 - share) * np.array(PAPER)), np.uint8)
    return {letter: atlas[:, start:end] for letter, (start, end) in letters._places.items()}


@lru_cache(maxsize=1024)
def line_of(letters: Glyphs, text: str, ink: Color) -> Array:
    """A line of text; many are the same in the next frames."""
    return np.concatenate([colored(letters, ink)[letter] for letter in text], 1)


class Covered:
    """Which parts of an image are covered by labels already."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows = [0] * -(-height // CELL)  # Of each row of squares a bit per square

    def take(self, x: int, y: int, wide: int, high: int) -> bool:
        """Notes a label there, and whether it was free and inside the image; if not, notes nothing."""
        if x < 0 or y < 0 or x + wide > self.width or y + high > self.height:
            return False
        squares = (1 << -(-(x + wide) // CELL)) - (1 << x // CELL)
        rows = range(y // CELL, -(-(y + high) // CELL))
        for row in rows:
            if self._rows[row] & squares:
                return False
        for row in rows:
            self._rows[row] |= squares
        return True

    def place(self, wide: int, high: int, box: Sequence[int], *, far: bool = False) -> tuple[int, int] | None:
        """A free place for a label at a box (`far`: in its surroundings), or None."""
        x1, y1, x2, y2 = box
        left, top = min(max(0, x1), self.width - wide), min(max(0, y1), self.height - high)
        spots = [(left, y1 - high), (left, y2 + 1), (left, y1 + 2), (left, y2 - high - 2), (x2 + 2, top),
                 (x1 - wide - 2, top), (min(x2, self.width) - wide, y1 - high), (left, top)]  # fmt: skip
        if far:
            steps = [(dx, dy) for dy in (-2, 2, -3, 3, -4, 4, -6, 6) for dx in (0, -1, 1, -2, 2)]
            spots = [(left + dx * wide // 2, (y1 if dy < 0 else y2) + dy * high) for dx, dy in steps]
        return next((spot for spot in spots if self.take(*spot, wide, high)), None)


def blit(image: Array, plate: Array, x: int, y: int) -> None:
    """Copies what fits of `plate` into the image at (x, y)."""
    y, x = max(0, y), max(0, x)
    room = image[y : y + plate.shape[0], x : x + plate.shape[1]]
    room[:] = plate[: room.shape[0], : room.shape[1]]

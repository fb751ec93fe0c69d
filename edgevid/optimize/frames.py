"""Real frames for calibration and comparison: some of a video, of a folder of images, or of a list.

The same source and count always give the same frames, so that what was measured can be measured again.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgevid.errors import InputError, SourceError
from edgevid.types import Array, Frame
from edgevid.video.open import IMAGES, ImageSource, masked, open_video, read_image

log = logging.getLogger("edgevid")
LISTS = frozenset((".txt", ".lst", ".list"))
"""Suffixes of text files that name images, one a line."""


@dataclass(frozen=True, slots=True)
class NamedFrame:
    """A frame, and the words by which a report finds it again."""

    name: str
    """The image's file name, or "<video> at 12.40 s"."""
    frame: Frame

    @property
    def image(self) -> Array:
        """(H, W, 3) uint8 RGB."""
        return self.frame.image


def read_frames(source: str | Path, count: int | None = None) -> Iterator[NamedFrame]:
    """At most `count` frames of a video, a folder or glob of images, or a text list; None: all.

    They are spread evenly: of n frames, number i of `count` is frame floor((i + 1/2) n / count). A list
    (.txt, .lst) names one image a line, relative to its own folder; empty lines and lines that start
    with # are passed over, and so, with a warning, are images that do not decode.
    Raises SourceError where there is no frame, InputError for a camera or stream, which no one can repeat.
    """
    if count is not None and count < 1:
        raise InputError(f"frames: expected a count of at least 1, got {count}")
    text = str(source)
    path = Path(text)
    if path.is_file() and path.suffix.lower() in LISTS:
        return _some(_pictures(_listed(path), count), text)
    if path.is_file() and path.suffix.lower() in IMAGES:
        return _some(_pictures([path], count), text)
    if text.isdigit() or text.startswith("/dev/video") or ("://" in text and not text.startswith("file://")):
        raise InputError(
            f"frames: {masked(text)} is a live source, whose frames never come again; record some of it "
            "(`edgevid run SOURCE --out clip.mp4` or a recorder) and give the file"
        )
    with open_video(text) as opened:
        if isinstance(opened, ImageSource):
            return _some(_pictures(opened.paths, count), text)
        announced, path = opened.frame_count, Path(text.removeprefix("file://"))
    return _some(_of_video(path, count, announced), text)


def picks(total: int, count: int | None) -> list[int]:
    """Which of `total` frames are taken for `count`: the middles of `count` equal parts.

    >>> picks(10, 4)
    [1, 3, 6, 8]
    """
    if count is None or count >= total:
        return list(range(total))
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _some(frames: Iterator[NamedFrame], source: str) -> Iterator[NamedFrame]:
    """The same frames, the first one read already, so that an empty source is told at once."""
    first = next(frames, None)
    if first is None:
        raise SourceError(f"frames: {source}: expected at least one image, none could be read")

    def rest() -> Iterator[NamedFrame]:
        yield first
        yield from frames

    return rest()


def _listed(path: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise SourceError(
            f"frames: {path}: expected a text file that names one image a line, this is no UTF-8 text"
        ) from None
    found = [path.parent / line for line in lines if line and not line.startswith("#")]
    if not found:
        raise SourceError(f"frames: {path}: expected one image a line, the list is empty")
    missing = [p for p in found if not p.is_file()]
    if missing:
        raise SourceError(
            f"frames: {path}: {len(missing)} of {len(found)} images do not exist, the first is {missing[0]} "
            "(lines are relative to the list's own folder)"
        )
    return found


def _pictures(paths: list[Path], count: int | None) -> Iterator[NamedFrame]:
    for index, row in enumerate(picks(len(paths), count)):
        image = read_image(paths[row])
        if image is None:
            log.warning("frames: %s does not decode and is passed over", paths[row])
            continue
        yield NamedFrame(paths[row].name, Frame(image, float(index), index))


def _of_video(path: Path, count: int | None, announced: int | None) -> Iterator[NamedFrame]:
    """Frames of a video; where it holds fewer than it announced, a second pass fetches what is lacking."""
    total = announced if announced or count is None else _counted(path)
    given: set[int] = set()
    expected = set(picks(total, count)) if total and count is not None else None
    seen = yield from _pass(path, expected, given)
    if count is not None and len(given) < min(count, seen):
        left = [row for row in range(seen) if row not in given]
        yield from _pass(path, {left[i] for i in picks(len(left), count - len(given))}, given)


def _pass(path: Path, expected: set[int] | None, given: set[int]) -> Generator[NamedFrame, None, int]:
    """Yields the wanted frames (None: all) and notes them in `given`; returns how many were decoded."""
    last, seen = max(expected, default=-1) if expected is not None else None, 0
    with open_video(path) as video:
        for number, frame in enumerate(video):
            seen = number + 1
            if expected is None or number in expected:
                given.add(number)
                yield NamedFrame(f"{path.name} at {frame.time:.2f} s", frame)
            if number == last:
                break
    return seen


def _counted(path: Path) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video)

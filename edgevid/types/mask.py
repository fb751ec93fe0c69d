"""Mask: the pixels of one object, as the part of the frame that its box covers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from edgevid.types.table import U8, Array


class Mask(NamedTuple):
    """The pixels of one object: `pixels` lies at column `left` and row `top` of the frame."""

    left: int
    top: int
    pixels: U8
    """(h, w) uint8, 1 where the object is."""

    def full(self, size: tuple[int, int]) -> Array:
        """(height, width) bool over a whole frame of `size` (width, height)."""
        out = np.zeros((size[1], size[0]), bool)
        high, wide = self.pixels.shape
        out[self.top : self.top + high, self.left : self.left + wide] = self.pixels
        return out

    def rle(self, size: tuple[int, int]) -> dict[str, Any]:
        """Run lengths as COCO writes them uncompressed: {"size": [height, width], "counts": [...]}.

        Counts alternate between background and object, from the background, down the columns of a frame of
        `size` (width, height) (github.com/cocodataset/cocoapi, pycocotools/mask.py).

        >>> Mask(1, 0, np.array([[1], [1]], np.uint8)).rle((2, 2))
        {'size': [2, 2], 'counts': [2, 2]}
        """
        width, height = size
        column, row = np.nonzero(self.pixels.T)
        places = (column + self.left) * height + row + self.top  # in order: column by column
        breaks = np.flatnonzero(np.diff(places) != 1)
        starts = places[np.concatenate([[0], breaks + 1])] if len(places) else places
        ends = places[np.concatenate([breaks, [-1]])] + 1 if len(places) else places
        edges = np.column_stack([starts, ends]).ravel()
        counts = np.diff(np.concatenate([[0], edges, [width * height]])).tolist()
        return {"size": [height, width], "counts": counts if counts[-1] or len(counts) == 1 else counts[:-1]}


def full_masks(masks: Sequence[Mask | None], size: tuple[int, int]) -> Array | None:
    """(N, height, width) bool of masks in a frame of `size`, empty where one is None; None where all are."""
    if all(mask is None for mask in masks):
        return None
    blank = np.zeros((size[1], size[0]), bool)
    return np.stack([blank if mask is None else mask.full(size) for mask in masks])


def mask_of_rle(rle: dict[str, Any]) -> Mask:
    """The mask of run lengths that `Mask.rle` wrote, over the whole frame.

    >>> mask_of_rle({"size": [2, 2], "counts": [2, 2]}).pixels.tolist()
    [[0, 1], [0, 1]]
    """
    height, width = rle["size"]
    counts: Sequence[int] = rle["counts"]
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    return Mask(0, 0, np.ascontiguousarray(flat.reshape(width, height).T))

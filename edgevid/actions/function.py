"""A function in the place of a recognizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Clips, Scores


class FunctionRecognizer:
    """A function of Clips as a recognizer; it returns Scores or an (M, C) array of probabilities.

    `clips.pixels` are (M, T, h, w, 3) uint8 RGB crops, oldest first.
    """

    def __init__(self, function: Callable[[Clips], Any], names: Sequence[str]) -> None:
        """`names` of the C classes."""
        self.function, self.names = function, tuple(names)

    def recognize(self, clips: Clips) -> Scores:
        """The function's answer, checked; it is not called without clips."""
        if not len(clips):
            return Scores.empty(values=np.zeros((0, len(self.names)), np.float32))
        found = self.function(clips)
        if isinstance(found, Scores):
            return found
        values = np.asarray(found, np.float32)
        if values.shape != (len(clips), len(self.names)):
            raise InputError(
                f"recognizer {self.function.__name__}: expected probabilities of shape "
                f"({len(clips)}, {len(self.names)}): a row per clip, a column per name, got {values.shape}"
            )
        return Scores.of(ids=clips.ids, values=values, times=np.nanmax(clips.times, axis=1))

    def reset(self) -> None:
        """Nothing is remembered."""

"""One frame made into a model's input."""

from __future__ import annotations

from edgevid.detect.preprocess import LetterboxTransform, Preprocessor
from edgevid.runtime import InputSpec
from edgevid.types import Array, Frame


def letterbox(frame: Frame, spec: InputSpec) -> tuple[Array, LetterboxTransform]:
    """The input, without the batch axis, and its transform."""
    out, (transform,) = Preprocessor(spec)([frame])
    return out[0], transform

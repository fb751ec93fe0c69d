"""Ultralytics weights in the place of a model: exported, verified and kept by their hash."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgevid.types import Frame

FRAMES = 4  # Frames that an export is verified on


def exported(model: str | None, source: str) -> str | None:
    """`model`, or where it is a file of Ultralytics weights (.pt), the ONNX file of its export.

    It is verified on frames of `source` where that is a file or a folder, else on a rendered street.
    """
    if not model or Path(model).suffix != ".pt":
        return model
    from edgevid.optimize.export import export_cached

    return str(export_cached(model, lambda: _frames(source)))


def _frames(source: str) -> list[Frame]:
    if source and Path(source).exists():
        from edgevid.optimize.frames import read_frames

        return [named.frame for named in read_frames(source, FRAMES)]
    from edgevid.synthetic.render import RenderedStreet

    return list(islice(iter(RenderedStreet()), FRAMES))

"""INT8 models from real frames."""

from __future__ import annotations

from edgevid.optimize.quantize.quantizer import quantize

__all__ = ["quantize"]

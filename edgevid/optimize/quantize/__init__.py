"""INT8 models from real frames."""

from edgevid.optimize.quantize.quantizer import quantize

__all__ = ["quantize"]

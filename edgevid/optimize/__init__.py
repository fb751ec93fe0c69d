"""Smaller and faster models that agree with the original: quantize, build, compare, bench, estimate."""

from edgevid.optimize.frames import read_frames

__all__ = ["read_frames"]

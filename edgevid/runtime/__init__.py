"""Inference backends behind one interface."""

from edgevid.runtime.base import Engine, FakeEngine, TensorSpec

__all__ = ["Engine", "FakeEngine", "TensorSpec"]

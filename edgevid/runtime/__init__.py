"""Inference backends behind one interface."""

from __future__ import annotations

from edgevid.runtime.engine import Engine, FakeEngine, TensorSpec
from edgevid.runtime.load import load_engine
from edgevid.runtime.recipe import Recipe, read_recipe

__all__ = ["Engine", "FakeEngine", "Recipe", "TensorSpec", "load_engine", "read_recipe"]

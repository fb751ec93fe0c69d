"""Models and the engines that run them: one protocol over ONNX Runtime and TensorRT."""

from edgevid.runtime.engine import Engine, FakeEngine, InputSpec, LoadedEngine, TensorSpec
from edgevid.runtime.load import load_engine
from edgevid.runtime.recipe import DetectorRecipe, LocalRecipe, Recipe, read_recipe

__all__ = [
    "DetectorRecipe", "Engine", "FakeEngine", "InputSpec", "LoadedEngine", "LocalRecipe", "Recipe", "TensorSpec",
    "load_engine", "read_recipe",
]  # fmt: skip

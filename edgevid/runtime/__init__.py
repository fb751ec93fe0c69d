"""Models and the engines that run them: one protocol over ONNX Runtime and TensorRT."""

from edgevid.runtime.engine import Engine, InputSpec, LoadedEngine, TensorSpec, input_shape
from edgevid.runtime.load import load_engine
from edgevid.runtime.recipe import DetectorRecipe, LocalRecipe, Precision, Recipe, Source, read_recipe, write_recipe
from edgevid.runtime.variants import check_exported, model_digest

__all__ = ["DetectorRecipe", "Engine", "InputSpec", "LoadedEngine", "LocalRecipe", "Precision", "Recipe", "Source",
           "TensorSpec", "check_exported", "input_shape", "load_engine", "model_digest", "read_recipe",
           "write_recipe"]  # fmt: skip

"""Inference backends behind one interface."""

from __future__ import annotations

from pathlib import Path

from edgevid.errors import InputError, ModelError
from edgevid.runtime.base import Engine, FakeEngine, TensorSpec
from edgevid.runtime.recipe import Recipe, read_recipe

__all__ = ["Engine", "FakeEngine", "Recipe", "TensorSpec", "load_engine", "read_recipe"]


def load_engine(
    model: Recipe | str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
) -> Engine:
    """The engine that runs `model`, a recipe with its local file or the path of an ONNX file.

    `device` is "auto", "cpu" or "cuda:N"; `threads` limits the CPU threads of one run.
    """
    if precision not in ("fp32", "fp16", "int8"):
        raise InputError(f"precision: wanted 'fp32', 'fp16' or 'int8', given {precision!r}")
    if isinstance(model, Recipe) and model.local is None:
        raise ModelError(
            f"{model.name}: its file is not on this machine; resolve_model({model.name!r}) gets it"
        )
    path = model.local if isinstance(model, Recipe) else Path(model)
    assert path is not None
    from edgevid.runtime.ort import OrtEngine  # ONNX Runtime takes 0.1 s to import

    return OrtEngine(path, device=device, threads=threads)

"""What an ONNX file holds: inputs, outputs, the exporter's metadata, and a draft of its recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevid.errors import InputError, ModelError
from edgevid.files.atomic import check_file
from edgevid.models.draft import drafted
from edgevid.models.hub import check_exported
from edgevid.models.metadata import DecoderGuess
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe
from edgevid.runtime.recipe_file import write_recipe


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What `edgevid inspect` prints."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    """Shapes as the file states them; -1 for dynamic axes."""
    metadata: dict[str, str]
    """What the exporter wrote into the file."""
    guess: DecoderGuess | None = None
    """None where no decoder fits."""
    recipe: LocalRecipe | None = None
    """The draft; None where nothing fits."""
    notes: tuple[str, ...] = ()
    """What the draft assumes, and what is to be filled in."""
    problem: str = ""
    """Why there is no draft."""


def inspect(path: str | Path) -> ModelReport:
    """The report of an ONNX file. InputError for a file of weights, ModelError for any other file."""
    path = Path(path)
    check_exported(path)
    with OrtEngine(path, device="cpu") as engine:
        metadata = {k: v for k, v in engine.metadata.items() if v}
        stated = (path, engine.inputs, engine.outputs, metadata)
        try:
            return ModelReport(*stated, *drafted(engine, path))
        except ModelError as error:
            return ModelReport(*stated, problem=str(error))


def write_draft(report: ModelReport, target: str | Path | None = None, *, replace: bool = False) -> Path:
    """Writes the draft recipe next to the model (or as `target`) and returns its path.

    `--model <model>.onnx` then reads `<model>.toml` next to it. InputError where a recipe is there already,
    which may have been edited, unless `replace`.
    """
    if report.recipe is None:
        why = report.problem or f"{report.path}: no decoder fits its outputs"
        raise ModelError(f"{why}; so there is no draft to write")
    path = Path(target) if target else report.path.with_suffix(".toml")
    check_file(path)
    if path.exists() and not replace:
        raise InputError(f"{path}: there is a recipe already; choose another name, or replace it (--force)")
    comment = "\n".join(["Draft by `edgevid inspect`. To be checked or filled in:", *report.notes])
    write_recipe(report.recipe, path, comment=comment)
    return path

"""What an ONNX file is, as far as its shapes and its exporter's notes tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevid.models.identify import Guess, Seen, draft, identify, look_at
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import Recipe
from edgevid.runtime.recipe_writer import write_recipe


@dataclass(frozen=True, slots=True)
class Report:
    """Inputs, outputs, the exporter's notes, and the decoder that fits."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    """Shapes as the file states them; -1 where they are open."""
    notes: dict[str, str]
    """What the exporter wrote into the file."""
    seen: Seen | None
    """None for a model that takes no image."""
    guess: Guess | None
    """None where no decoder fits."""

    @property
    def recipe(self) -> Recipe | None:
        """The draft that the guess amounts to."""
        if self.seen is None or self.guess is None:
            return None
        return draft(self.seen, self.guess, self.path)


def inspect(path: str | Path) -> Report:
    """Reads an ONNX file. ModelError for a file that is none."""
    path = Path(path)
    with OrtEngine(path, device="cpu") as engine:
        takes_picture = any(len(spec.shape) == 4 for spec in engine.inputs)
        seen = look_at(engine) if takes_picture else None
        notes = {k: v for k, v in engine.metadata.items() if v}
        return Report(path, engine.inputs, engine.outputs, notes, seen, identify(seen) if seen else None)


def write_draft(report: Report, target: str | Path | None = None, *, replace: bool = False) -> Path:
    """Writes the draft recipe beside the model (or as `target`) and returns its path.

    `<model>.toml` beside `<model>.onnx` is what `--model <model>.onnx` then reads. InputError where a recipe
    is there already, which somebody may have put right, unless `replace`.
    """
    from edgevid.errors import InputError, ModelError

    recipe = report.recipe
    if recipe is None or report.guess is None:
        raise ModelError(f"{report.path}: no decoder fits its outputs, so there is no draft to write")
    path = Path(target) if target else report.path.with_suffix(".toml")
    if path.exists() and not replace:
        raise InputError(f"{path}: there is a recipe already; take another name, or replace it (--force)")
    comment = "\n".join(["Draft by `edgevid inspect`. To be checked:", *report.guess.notes])
    write_recipe(recipe, path, comment=comment)
    return path

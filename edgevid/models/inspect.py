"""What an ONNX file holds: inputs, outputs, the exporter's metadata, and the decoder that fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevid.errors import InputError, ModelError
from edgevid.files.atomic import check_file
from edgevid.models.identify import DecoderGuess, draft, identify
from edgevid.models.signature import ModelSignature, read_signature
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
    signature: ModelSignature | None
    """None for a model without an image input."""
    guess: DecoderGuess | None
    """None where no decoder fits."""

    @property
    def recipe(self) -> LocalRecipe | None:
        """The draft of the guess; None where no decoder fits."""
        if self.signature is None or self.guess is None:
            return None
        return draft(self.signature, self.guess, self.path)


def inspect(path: str | Path) -> ModelReport:
    """The report of an ONNX file. ModelError for any other file."""
    path = Path(path)
    with OrtEngine(path, device="cpu") as engine:
        takes_images = any(len(spec.shape) == 4 for spec in engine.inputs)
        signature = read_signature(engine) if takes_images else None
        metadata = {k: v for k, v in engine.metadata.items() if v}
        return ModelReport(
            path,
            engine.inputs,
            engine.outputs,
            metadata,
            signature,
            identify(signature) if signature else None,
        )


def write_draft(report: ModelReport, target: str | Path | None = None, *, replace: bool = False) -> Path:
    """Writes the draft recipe next to the model (or as `target`) and returns its path.

    `--model <model>.onnx` then reads `<model>.toml` next to it. InputError where a recipe is there already,
    which may have been edited, unless `replace`.
    """

    recipe = report.recipe
    if recipe is None or report.guess is None:
        raise ModelError(f"{report.path}: no decoder fits its outputs, so there is no draft to write")
    path = Path(target) if target else report.path.with_suffix(".toml")
    check_file(path)
    if path.exists() and not replace:
        raise InputError(f"{path}: there is a recipe already; choose another name, or replace it (--force)")
    comment = "\n".join(["Draft by `edgevid inspect`. To be checked:", *report.guess.notes])
    write_recipe(recipe, path, comment=comment)
    return path

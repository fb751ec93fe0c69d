"""A recogniser made of a recipe, whatever kind of model it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgevid.actions.clip import ClipRecogniser
from edgevid.actions.features import Extractor, FeatureExtractor, PoseExtractor
from edgevid.actions.image import ImageRecogniser
from edgevid.actions.recognizer import Recogniser
from edgevid.actions.sequence import HeadTable, SequenceRecogniser
from edgevid.actions.streaming import StreamRecogniser
from edgevid.errors import InputError
from edgevid.models.hub import resolve_model
from edgevid.runtime import Engine, Recipe, load_engine


def load_recogniser(
    model: str | Path,
    *,
    extractor: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Recogniser:
    """The recogniser of a model's name, a recipe or its folder.

    A temporal head also loads the extractor that its recipe names, or `extractor` where given.
    InputError where the model is none that recognises.
    """
    recipe = resolve_model(model)
    if recipe.task == "head":
        table = HeadTable.read(recipe)
        source = extractor or _beside(recipe, table.extractor)
        front = load_extractor(source, joints=table.joints, device=device, threads=threads)
        return SequenceRecogniser(front, load_engine(recipe, device=device, threads=threads), recipe)
    kinds: dict[str, Callable[[Engine, Recipe], Recogniser]]
    kinds = {"classify": ImageRecogniser, "clip": ClipRecogniser, "stream": StreamRecogniser}
    if recipe.task not in kinds:
        wanted = ", ".join(sorted((*kinds, "head")))
        raise InputError(f"{recipe.name}: wanted a recipe of task {wanted}, given {recipe.task!r}")
    return kinds[recipe.task](load_engine(recipe, device=device, threads=threads), recipe)


def load_extractor(
    model: str | Path, *, joints: str = "jhmdb15", device: str = "auto", threads: int | None = None
) -> Extractor:
    """The feature or pose model of a name, a recipe or its folder."""
    recipe = resolve_model(model)
    if recipe.task not in ("features", "pose"):
        raise InputError(f"{recipe.name}: wanted a recipe of task features or pose, given {recipe.task!r}")
    engine = load_engine(recipe, device=device, threads=threads)
    if recipe.task == "pose":
        return PoseExtractor(engine, recipe, joints=joints)
    return FeatureExtractor(engine, recipe)


def _beside(recipe: Recipe, name: str) -> str | Path:
    """The extractor's recipe: a path relative to the head's own, else a model's name."""
    if not name:
        raise InputError(f"{recipe.name}: its table [head] names no extractor; give one with extractor=...")
    path = recipe.path.parent / name
    return path if path.exists() else name

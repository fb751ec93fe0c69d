"""Recognizers and extractors from recipes."""

from collections.abc import Callable
from pathlib import Path

from edgevid.actions.clip import ClipRecognizer, ImageRecognizer, StreamRecognizer
from edgevid.actions.features import DetectedPose, Extractor, FeatureExtractor, JointSet, PoseExtractor
from edgevid.actions.recognizer import Recognizer
from edgevid.actions.sequence import HeadSection, SequenceRecognizer
from edgevid.errors import InputError
from edgevid.models.hub import resolve_model
from edgevid.runtime import Engine, Recipe, load_engine

DETECTOR = "detector"  # Stands for the detector's key points in the place of a pose model


def load_recognizer(
    model: str | Path, *, extractor: str | Path | None = None, device: str = "auto", threads: int | None = None,
    load: Callable[..., Engine] = load_engine,
) -> Recognizer:  # fmt: skip
    """The recognizer of a model's name, a recipe or its folder. A temporal head also loads the extractor that
    its recipe names, or `extractor` where given; "detector" takes the key points of the detector instead of a
    pose model. `load` opens the models in the place of `load_engine`. InputError where the model is no recognizer."""
    recipe = resolve_model(model)
    if recipe.task == "head":
        table = HeadSection.read(recipe)
        if not (extractor or table.extractor):
            raise InputError(f"{recipe.name}: its table [head] has no extractor; pass extractor=...")
        beside = recipe.path.parent / table.extractor  # relative to the head's own recipe, else a name
        source = extractor or (beside if beside.exists() else table.extractor)
        front: Extractor = DetectedPose(joints=table.joints)
        if source != DETECTOR:
            front = load_extractor(source, joints=table.joints, device=device, threads=threads, load=load)
        return SequenceRecognizer(front, load(recipe, device=device, threads=threads), recipe)
    kinds: dict[str, Callable[[Engine, Recipe], Recognizer]]
    kinds = {"classify": ImageRecognizer, "clip": ClipRecognizer, "stream": StreamRecognizer}
    if recipe.task not in kinds:
        expected = ", ".join(sorted((*kinds, "head")))
        raise InputError(f"{recipe.name}: expected a recipe of task {expected}, got {recipe.task!r}")
    return kinds[recipe.task](load(recipe, device=device, threads=threads), recipe)


def load_extractor(
    model: str | Path, *, joints: JointSet = "jhmdb15", device: str = "auto", threads: int | None = None,
    load: Callable[..., Engine] = load_engine,
) -> FeatureExtractor | PoseExtractor:  # fmt: skip
    """The feature or pose model of a name, a recipe or its folder."""
    recipe = resolve_model(model)
    if recipe.task not in ("features", "pose"):
        raise InputError(f"{recipe.name}: expected a recipe of task features or pose, got {recipe.task!r}")
    engine = load(recipe, device=device, threads=threads)
    if recipe.task == "pose":
        return PoseExtractor(engine, recipe, joints=joints)
    return FeatureExtractor(engine, recipe)

"""Recognizers and extractors from recipes."""

from collections.abc import Callable
from pathlib import Path

from edgevid._opencv import require_opencv
from edgevid.actions.clip import ClipExtractor, ClipRecognizer, ImageRecognizer, StreamRecognizer
from edgevid.actions.clip_spec import ClipSection
from edgevid.actions.features import JHMDB15, DetectedPose, Extractor, FeatureExtractor, PoseExtractor, layout_of
from edgevid.actions.flow import HOF, FlowHistograms, TwoStreamExtractor
from edgevid.actions.inside import InsideRecognizer
from edgevid.actions.layout import JointLayout
from edgevid.actions.recognizer import Recognizer, input_named
from edgevid.actions.sequence import HeadSection, SequenceRecognizer
from edgevid.detect import Detector
from edgevid.errors import InputError
from edgevid.models.hub import resolve_model
from edgevid.runtime import Engine, Recipe, load_engine

DETECTOR = "detector"  # Stands for the detector's key points in the place of a pose model
KINDS = {"classify": ImageRecognizer, "clip": ClipRecognizer, "stream": StreamRecognizer}


def load_recognizer(model: str | Path, *, extractor: str | Path | None = None, inside: str = "", device: str = "auto",
                    threads: int | None = None, load: Callable[..., Engine] = load_engine) -> Recognizer:  # fmt: skip
    """The recognizer of a model's name, a recipe or its folder; inside what a detector finds, where `inside` or the
    recipe's table [clip] names one. A temporal head also loads the extractor that its recipe names, or `extractor`
    where given; "detector", as extractor or as `inside`, takes the key points of the pipeline's own detector, such as
    YOLO-pose, instead of a pose model. `load` opens the models in the
    place of `load_engine`. InputError where the model is no recognizer."""
    recipe = resolve_model(model)
    found: Recognizer
    if recipe.task == "head":
        if inside == DETECTOR:
            extractor, inside = DETECTOR, ""
        table = HeadSection.read(recipe)
        if not (extractor or table.extractor):
            raise InputError(f"{recipe.name}: its table [head] has no extractor; pass extractor=...")
        source = extractor or _beside(recipe, table.extractor)
        layout = layout_of(recipe)
        front: Extractor = DetectedPose(layout=layout)
        if source != DETECTOR:
            flow = table.flow and _beside(recipe, table.flow)
            front = load_extractor(source, layout=layout, flow=flow, device=device, threads=threads, load=load)
        found = SequenceRecognizer(front, load(recipe, device=device, threads=threads), recipe)
    elif recipe.task in KINDS:
        found = KINDS[recipe.task](load(recipe, device=device, threads=threads), recipe)
    else:
        expected = ", ".join(sorted((*KINDS, "head")))
        raise InputError(f"{recipe.name}: expected a recipe of task {expected}, got {recipe.task!r}")
    if not (name := inside or ClipSection.read(recipe).inside):
        return found
    finder = resolve_model(inside or _beside(recipe, name))
    return InsideRecognizer(found, Detector(load(finder, device=device, threads=threads), finder))


def _beside(recipe: Recipe, name: str) -> str | Path:
    """The model that a recipe names: a path relative to the recipe, else a name."""
    path = recipe.path.parent / name
    return path if path.exists() else name


def load_extractor(model: str | Path, *, layout: JointLayout = JHMDB15, flow: str | Path = "", device: str = "auto",
                   threads: int | None = None,
                   load: Callable[..., Engine] = load_engine) -> FeatureExtractor | PoseExtractor:  # fmt: skip
    """The feature or pose model of a name, a recipe or its folder. With `flow`, its features and those of optical flow:
    "hof" for histograms, or a network of flow."""
    recipe = resolve_model(model)
    if recipe.task not in ("features", "pose"):
        raise InputError(f"{recipe.name}: expected a recipe of task features or pose, got {recipe.task!r}")
    of_flow = ClipSection.read(recipe).flow_bound > 0
    if flow or of_flow:
        require_opencv("Optical flow")
    if flow and recipe.task == "pose":
        raise InputError(f"flow: expected features of images before it, got the pose model {recipe.name}; cut an "
                         "extractor out of an image model: edgevid train backbone")  # fmt: skip
    engine = load(recipe, device=device, threads=threads)
    if recipe.task == "pose":
        return PoseExtractor(engine, recipe, layout=layout)
    clips = of_flow or len(input_named(engine, recipe.input_name, recipe).shape) == 5
    found = (ClipExtractor if clips else FeatureExtractor)(engine, recipe)
    if not flow:
        return found
    of = FlowHistograms() if flow == HOF else load_extractor(flow, device=device, threads=threads, load=load)
    if not (isinstance(of, FlowHistograms) or (isinstance(of, ClipExtractor) and of.flow_bound)):
        raise InputError(f"flow: expected {HOF!r}, or a network with flow_bound in its table [clip], got {flow}")
    return TwoStreamExtractor(found, of)

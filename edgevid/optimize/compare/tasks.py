"""The comparison of two models by task: boxes, a class, joints, features, the class of clips (whole frames)."""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgevid.actions import ClipRecognizer, ClipSection, FeatureExtractor, PoseExtractor, StreamRecognizer
from edgevid.actions import recognizer as actions
from edgevid.actions.sequence import HeadSection
from edgevid.detect import Detector, crop
from edgevid.errors import InputError, ModelError
from edgevid.optimize.agreement import FramePair, TaskMetrics, TopClass, cosine, match_boxes
from edgevid.optimize.frames import FrameRunner, NamedFrame
from edgevid.runtime import DetectorRecipe, Engine, Recipe
from edgevid.types import Array, Clips, Detections

MIN_JOINT_SCORE = 0.3  # Score from which a joint counts as detected
MAX_JOINT_DISTANCE = 0.05  # Joints of both models agree within this share of the frame's longer side
EXACT_IOU = 0.9
MARGIN = 0.1  # An unmatched box whose partner's score is less than this below the threshold only crossed the threshold
DEFINITION = "share of both models' boxes that match one to one, same class, at IoU 0.5 or more: 2 M / (A + B)"


class Task(ABC):
    """Compares two models frame by frame, and sums up what agrees of their answers. Those of one can be stored."""

    notes: tuple[str, ...] = ("each frame is used as one whole image: give crops of the objects where the model "
                              "expects crops",)  # fmt: skip
    side: Callable[[Engine, Recipe], Any]  # What runs one of the two models

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe, threshold: float | None = None) -> None:
        self.recipe, self.threshold = recipe, threshold
        self.agreeing, self.total, self.drifts = 0.0, 0.0, list[float]()
        self.sides = [self.side(engine, how) for engine, how in ((a, recipe), (b, other))]

    @abstractmethod
    def answer(self, side: int, frame: NamedFrame) -> Any:
        """That of the reference (0) or the candidate (1)."""

    @abstractmethod
    def pair(self, frame: NamedFrame, a: Any, b: Any) -> FramePair:
        """Compares both models' answers, and counts them."""

    @abstractmethod
    def metrics(self) -> TaskMetrics:
        """The agreement over all frames."""

    def compare(self, frame: NamedFrame) -> FramePair:
        """Both models' answers to one frame."""
        return self.pair(frame, self.answer(0, frame), self.answer(1, frame))

    def count(self, pair: FramePair) -> FramePair:
        """Keeps the pair's figures, not its pixels."""
        self.agreeing += pair.agreeing
        self.total += pair.total
        self.drifts.append(pair.drift)
        return pair

    def metrics_of(self, unit: str, condition: str, definition: str, details: dict[str, float],
                   scores: Array | None = None) -> TaskMetrics:  # fmt: skip
        """The share of what agrees over all frames."""
        share, total = self.agreeing / self.total if self.total else 0.0, int(self.total)
        return TaskMetrics(self.recipe.task, share, self.total, total, unit, condition, definition, details, scores)


class BoxTask(Task):
    """Detectors: boxes that match one to one."""

    notes: tuple[str, ...] = ()

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe, threshold: float | None = None) -> None:
        self._counts = Counter[str]()
        self._ious, self._scores = [np.zeros(0, np.float32)], [np.zeros((0, 2), np.float32)]
        super().__init__(a, b, recipe, other, threshold)

    def side(self, engine: Engine, recipe: Recipe) -> tuple[Detector, float]:
        """A detector, and the score above which its boxes count. It decodes those just below, too, to distinguish a
        missed box from one that only crossed the threshold; suppression goes from the highest score down, so they
        change nothing above it."""
        limit = DetectorRecipe.of(recipe).decode.score_threshold if self.threshold is None else self.threshold
        return Detector(engine, recipe, score_threshold=max(limit - MARGIN, 0.0)), limit

    def answer(self, side: int, frame: NamedFrame) -> Detections:
        """Boxes, those just below the threshold too. None of a candidate that gives NaN: its raw outputs reject it."""
        try:
            found: Detections = self.sides[side][0].detect([frame.frame])[0]
        except ModelError as error:
            if side == 0 or "NaN" not in str(error):
                raise
            return Detections.empty()
        return found

    def pair(self, frame: NamedFrame, faint_a: Detections, faint_b: Detections) -> FramePair:
        """Matches both models' boxes to one frame."""
        above = [found.scores > np.float32(side[1]) for found, side in zip((faint_a, faint_b), self.sides, strict=True)]
        a, b = faint_a[above[0]], faint_b[above[1]]
        rows, ious = match_boxes(a, b)
        matched = len(rows)
        scores = np.stack((a.scores[rows[:, 0]], b.scores[rows[:, 1]]), axis=1)
        missed, extra = (d[np.setdiff1d(np.arange(len(d)), rows[:, k])] for k, d in enumerate((a, b)))
        crossed = (match_boxes(missed, faint_b[~above[1]]), match_boxes(extra, faint_a[~above[0]]))
        one, other = (Detections(d.boxes, d.scores, np.zeros_like(d.labels)) for d in (missed, extra))
        self._counts.update(reference=len(a), candidate=len(b), matched=matched, exact=int((ious >= EXACT_IOU).sum()),
                            crossed=sum(len(found[0]) for found in crossed),
                            changed=len(match_boxes(one, other)[0]))  # fmt: skip
        self._ious.append(ious)
        self._scores.append(scores)
        drift = float(np.abs(scores[:, 1] - scores[:, 0]).max(initial=0.0))
        text = f"{len(missed)} missed, {len(extra)} extra, {matched} matched, score drift up to {drift:.2f}"
        return self.count(FramePair(frame, 2.0 * matched, float(len(a) + len(b)), drift, text, a, b, rows))

    def metrics(self) -> TaskMetrics:
        """The sums over all frames."""
        n, ious, scores = self._counts, np.concatenate(self._ious), np.concatenate(self._scores)
        drift = scores[:, 1] - scores[:, 0]
        details = {"boxes of the reference": n["reference"], "boxes of the candidate": n["candidate"],
                   "matched at IoU 0.5": n["matched"], "matched at IoU 0.9": n["exact"],
                   "recall of the reference's boxes": n["matched"] / max(n["reference"], 1),
                   "precision of the candidate's boxes": n["matched"] / max(n["candidate"], 1),
                   "agreement at IoU 0.9": 2 * n["exact"] / max(self.total, 1),
                   "mean IoU of matches": float(ious.mean()) if len(ious) else 0.0,
                   "score drift, mean": float(drift.mean()) if len(drift) else 0.0,
                   "score drift, mean absolute": float(np.abs(drift).mean()) if len(drift) else 0.0,
                   "score drift, largest": float(np.abs(drift).max(initial=0.0)), "threshold crossings": n["crossed"],
                   "class changes": n["changed"]}  # fmt: skip
        return self.metrics_of("boxes", " at IoU 0.5", DEFINITION, details, scores)


class ClassTask(Task):
    """Classifiers: the most probable class."""

    unit = "frames"  # What has a class

    @staticmethod
    def side(engine: Engine, recipe: Recipe) -> Any:
        """What `answer` needs."""
        name, output = actions.input_named(engine, recipe.input_name, recipe).name, actions.first_output(engine, recipe)
        return engine, recipe, actions.image_input(recipe), name, output, ClipSection.read(recipe).activation

    def answer(self, side: int, frame: NamedFrame) -> Array:
        """(C,) probabilities."""
        engine, recipe, spec, name, output, activation = self.sides[side]
        answer = actions.run_batch(engine, {name: actions.preprocess_crops(frame.frame.image[None], spec)})[output]
        row = np.asarray(answer, np.float64).reshape(-1)
        if len(row) != len(recipe.names):
            raise InputError(f"{recipe.name}: expected {len(recipe.names)} classes, the model has {len(row)}")
        return actions.softmax(row) if activation == "softmax" and np.isfinite(row).all() else row

    def pair(self, frame: NamedFrame, a: Array, b: Array) -> FramePair:
        """Compares the most probable class of both models."""
        first, second = TopClass.of(a, self.recipe.names), TopClass.of(b, self.recipe.names)
        agreeing = first.label == second.label and first.label >= 0
        with np.errstate(invalid="ignore"):  # both infinite
            drift = float(np.nanmax(np.abs(b - a), initial=0.0))
        text = f"{first.name} {first.probability:.2f}, {second.name} {second.probability:.2f}"
        return self.count(FramePair(frame, float(agreeing), 1.0, drift, text, first, second))

    def metrics(self) -> TaskMetrics:
        """Top-1 agreement."""
        definition = f"share of {self.unit} on which both models' most probable class is the same (top-1)"
        return self.metrics_of(self.unit, " by top-1 class", definition, drift_details("probability", self.drifts))


class HeadTask(ClassTask):
    """Temporal heads: the most probable class at each moment of clips, each model with its own states."""

    @staticmethod
    def side(engine: Engine, recipe: Recipe) -> Any:
        """What `answer` needs."""
        return FrameRunner(recipe, engine), dict[str, Array](), actions.first_output(engine, recipe)

    def answer(self, side: int, frame: NamedFrame) -> Array:
        """(C,) probabilities."""
        runner, last, output = self.sides[side]
        states = HeadSection.read(self.recipe).names if frame.frame.index else ()
        inputs = runner.inputs(frame.frame) | {state: last[after] for state, after, _ in states}
        last.update({name: np.array(value) for name, value in runner.engine.run(inputs).items()})
        row = np.asarray(last[output], np.float64).reshape(-1, len(self.recipe.names))[-1]
        return actions.softmax(row) if np.isfinite(row).all() else row


class JointTask(Task):
    """Single-person pose models: joints at the same position."""

    side = PoseExtractor

    def answer(self, side: int, frame: NamedFrame) -> Array:
        """(K, 3) joints as x, y, score in frame pixels."""
        box = np.array([[0, 0, *frame.frame.size]], np.float64)
        return np.asarray(self.sides[side].keypoints(frame.frame.image[None], box)[0])

    def pair(self, frame: NamedFrame, a: Array, b: Array) -> FramePair:
        """Joints agree where both models detect them and they lie close together."""
        by_a, by_b = a[:, 2] >= MIN_JOINT_SCORE, b[:, 2] >= MIN_JOINT_SCORE
        distance = np.hypot(*(b - a)[:, :2].T)
        agreeing = by_a & by_b & (distance <= MAX_JOINT_DISTANCE * max(frame.frame.size))
        either, drift = by_a | by_b, float(np.nanmax(np.abs(b - a)[:, 2], initial=0.0))
        largest = float(np.nanmax(distance[either], initial=0.0))
        differing = int((either & ~agreeing).sum())
        text = f"{differing} of {int(either.sum())} joints differ, by up to {largest:.0f} pixels"
        counts = float(agreeing.sum()), float(either.sum())
        rows = np.repeat(np.flatnonzero(agreeing)[:, None], 2, axis=1)
        return self.count(FramePair(frame, *counts, drift, text, a, b, rows))

    def metrics(self) -> TaskMetrics:
        """Agreement of joints."""
        joints = f"share of the joints detected by either model (score from {MIN_JOINT_SCORE})"
        definition = f"{joints} that both detect within {MAX_JOINT_DISTANCE:.0%} of the frame's longer side"
        return self.metrics_of("joints", " by position", definition, drift_details("score", self.drifts))


class FeatureTask(Task):
    """Frozen feature networks: the direction of the feature vector."""

    side = FeatureExtractor

    def answer(self, side: int, frame: NamedFrame) -> Array:
        """(D,) features."""
        box = np.array([[0, 0, *frame.frame.size]], np.float32)
        return np.asarray(self.sides[side].extract(frame.frame.image[None], box)[0], np.float64)

    def pair(self, frame: NamedFrame, a: Array, b: Array) -> FramePair:
        """The cosine similarity of both models' features."""
        similarity = cosine(a, b)
        return self.count(FramePair(frame, similarity, 1.0, 1 - similarity, f"cosine {similarity:.5f}", None, None))

    def metrics(self) -> TaskMetrics:
        """Mean cosine similarity."""
        definition = "mean over the frames of the cosine similarity of both models' feature vectors"
        details = {"minimum cosine of a frame": 1 - max(self.drifts, default=0.0)}
        return self.metrics_of("frames", " by cosine", definition, details)


KINDS: dict[str, Callable[[Engine, Recipe], actions.Recognizer]] = {
    "clip": lambda engine, recipe: ClipRecognizer(engine, recipe, average=False),
    "stream": StreamRecognizer,
}


class ClipTask(ClassTask):
    """Clip models (one full window per frame) and streaming models (one step per frame, with state)."""

    unit = "clips"
    notes: tuple[str, ...] = ("whole frames are used, in their order, as the steps of one object's clip",)

    @staticmethod
    def side(engine: Engine, recipe: Recipe) -> Any:
        """A recognizer, and the pixels and times of the last frames."""
        recognizer = KINDS[recipe.task](engine, recipe)
        return recognizer, deque[tuple[Array, float]](maxlen=recognizer.spec.steps)

    def answer(self, side: int, frame: NamedFrame) -> Any:
        """(C,) probabilities of the clip that ends with this frame: None before it is full, NaN for a broken answer."""
        (recognizer, steps), spec = self.sides[side], self.sides[0][0].spec
        whole = np.array([[0, 0, *frame.frame.size]], np.float32)
        time = steps[-1][1] + 1.0 / spec.rate_hz if steps else 0.0  # one step a frame, however far apart they were
        steps.append((crop(frame.frame, whole, (spec.width, spec.height))[0].copy(), time))
        if len(steps) < spec.steps:
            return None
        pixels, times = zip(*steps, strict=True)
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (1, spec.steps, 1))
        try:
            found = recognizer.recognize(Clips(np.ones(1, np.int64), np.stack(pixels)[None], np.array([times]), boxes))
        except ModelError as error:
            if "NaN" not in str(error):
                raise
            return np.full(len(self.recipe.names), np.nan)
        return np.asarray(found.values[0], np.float64)

    def pair(self, frame: NamedFrame, a: Array | None, b: Array | None) -> FramePair:
        """Compares the most probable class of both models, once there is a clip."""
        if a is None or b is None:
            return FramePair(frame, 0.0, 0.0, 0.0, "the first clip is not full yet", None, None)
        return super().pair(frame, a, b)

    def metrics(self) -> TaskMetrics:
        """Top-1 agreement over the clips."""
        recognizer, steps = self.sides[0]
        if not self.drifts:
            what = f"compare: expected at least the {recognizer.spec.steps} frames of one clip of {self.recipe.name}"
            raise InputError(f"{what}, got {len(steps)}")
        return super().metrics()


TASKS: Mapping[str, type[Task]] = {
    **{"detect": BoxTask, "classify": ClassTask, "head": HeadTask, "pose": JointTask, "features": FeatureTask},
    **dict.fromkeys(KINDS, ClipTask),
}


def task_of(a: Engine, b: Engine, recipe: Recipe, other: Recipe, *, threshold: float | None = None) -> Task:
    """The comparison for the recipe's task; InputError for tasks without one."""
    if recipe.task not in TASKS:
        known = ", ".join(TASKS)
        raise InputError(f"{recipe.name}: has the task {recipe.task!r}; expected one that takes images: {known}")
    return TASKS[recipe.task](a, b, recipe, other, threshold)


def drift_details(what: str, drifts: list[float]) -> dict[str, float]:
    """The metrics of the largest drift of each frame."""
    drifts = drifts or [0.0]
    return {f"{what} drift, mean of the largest": float(np.mean(drifts)), f"{what} drift, largest": max(drifts)}

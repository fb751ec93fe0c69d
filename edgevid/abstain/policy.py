"""The abstain policy (selective prediction): which verdicts are emitted, and why the others are not.

A verdict is emitted when its track has enough recent observations that agree with each other, and the
confidence of the best class reaches a threshold, chosen on labeled tracks by `edgevid tune`. Every other
track gets a row too, with label -1 and its Reason.

Where no class reaches its threshold, a parent of several classes may (`Settings.tree`): "vehicle", where car
and truck are both likely. Parents are labels after those of the classes: C for the first one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import numpy as np
from annotated_types import Ge, Le

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.files.fields import Count, Positive, Share, check_fields, field_limits
from edgevid.types import Array, Reason, Scores, Tracks, Verdicts

Aggregate = Literal["mean-log-prob", "vote", "sequential"]
"""How the observations of a track become one: see `Settings.aggregate`."""
NEVER = 2.0  # A threshold that no confidence reaches: the class is never emitted
Threshold = Annotated[float, Ge(0), Le(NEVER)]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
BANDS = {one.name.lower(): one for one in (Reason.DARK, Reason.BLURRED, Reason.OVEREXPOSED, Reason.DAMAGED)}


@dataclass(frozen=True, slots=True)
class Settings:
    """The rules of one policy. The defaults are not tuned: `edgevid tune` chooses them for a model."""

    threshold: Threshold = 0.5  # Lowest confidence of the best class
    per_class: Mapping[str, Threshold] = field(default_factory=dict)  # By the name of a class, in place of `threshold`
    per_band: Mapping[str, Threshold] = field(default_factory=dict)
    """Thresholds in images that are "dark", "blurred", "overexposed" or "damaged", at least `threshold`, or never."""
    margin: Share = 0.0  # Smallest margin between the best class's confidence and the second's
    min_observations: Count = 1  # Fewest observations: outputs of the recognizer for this track
    min_seconds: Positive = 0.0  # Shortest time from the first observation to the last, seconds
    min_agreement: Share = 0.0  # Smallest share of a track's observations whose own best class is the verdict's
    stale_s: Positive = math.inf  # A verdict whose last observation is older than this is no longer emitted, seconds
    unlike: Share = 0.1  # UNLIKE_TRAINING below this mean typicality (conformal p-value) of the observations; 0: never
    tree: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parents by name, each with the classes below it: emitted where no class is sure, but they together."""
    parent_threshold: Threshold = 0.5  # Lowest sum of the confidences of a parent's classes
    min_side_px: Positive = 0.0  # Objects whose box has a shorter side, in pixels, get no verdict, add no observation
    aggregate: Aggregate = "mean-log-prob"
    """"mean-log-prob"; "vote" counts best classes; "sequential" decides when the evidence for one class
    passes log `odds` and keeps it until contradicted, so that verdicts do not flicker."""
    temperature: Annotated[float, Ge(0.05), Le(20)] = 1.0
    """Divides log-probabilities; fitted on held-out scores (Guo et al. 2017)."""
    correlation: Share = 0.35  # Of the observations of one track: n of them count as n / (1 + (n - 1) * correlation)
    memory_s: Annotated[float, Ge(1e-3)] = math.inf  # Old observations fade with this time constant; inf: never
    odds: Annotated[float, Ge(1)] = 19.0  # Sequential: evidence ratio at which a class is decided
    step: Annotated[float, Ge(1e-3), Le(1)] = 0.35
    """Sequential: share of each observation's log-probability that counts (they are not independent)."""
    take: Share = 0.55  # Sequential: a new decision after a contradicted one needs this running mean
    drop: Share = 0.35  # Sequential: a decision is contradicted when its running mean falls below this
    ema_s: Annotated[float, Ge(1e-3)] = 1.0  # Sequential: time constant of the running mean, seconds

    def __post_init__(self) -> None:
        check_fields(self, "policy")
        for label, value in self.per_class.items():
            if not 0 <= value <= NEVER:
                raise InputError(f"policy per_class[{label!r}]: expected 0 to {NEVER:g}, got {value!r}")
        for band, value in self.per_band.items():
            if band not in BANDS or not self.threshold <= value <= NEVER:
                expected = f"one of {', '.join(BANDS)}, from {self.threshold:g} to {NEVER:g}"
                raise InputError(f"policy per_band: expected {expected}, got {band!r}: {value!r}")


LIMITS = field_limits(Settings)  # The values that each number of Settings may take


class Policy:
    """Verdicts of one recognizer's scores, one row per track.

    >>> policy = Policy(["walk", "run"], threshold=0.6)
    >>> tracks = Tracks.of(ids=[7], boxes=[[0, 0, 40, 90]], scores=[0.9], labels=[0], match=[0], age=[1],
    ...                    unseen=[0])
    >>> unsure = policy.update(Scores.of(ids=[7], values=[[0.52, 0.48]], times=[0.0]), tracks, 0.0)
    >>> [(row.label, row.reason.description) for row in unsure]
    [(-1, 'low confidence')]
    """

    def __init__(self, names: Iterable[str], settings: Settings | None = None, *, task: str = "",
                 **rules: object) -> None:  # fmt: skip
        """`names` in the order of the scores' columns; `rules` are fields of `settings`, in its place."""
        if settings is not None and rules:
            raise InputError("Policy: expected settings or single rules, got both")
        self.names = tuple(names)
        try:
            self.settings = settings or Settings(**rules)  # type: ignore[arg-type]
        except TypeError as error:
            raise InputError(f"Policy: {error}") from None
        self.task, self.sha256 = task, ""
        kept = set(LIMITS) - {"threshold", "odds", "unlike", "parent_threshold"}  # as the kernel takes them
        numbers = {name: float(getattr(self.settings, name)) for name in kept}
        numbers["aggregate"] = AGGREGATES.index(self.settings.aggregate)
        numbers["gap"] = math.log(self.settings.odds)
        self._core = kernels.PolicyCore(numbers, class_thresholds(self.names, self.settings))
        self.parents = tuple(self.settings.tree)
        self._members = members(self.names, self.settings)
        self._typicality: dict[int, tuple[float, float, float]] = {}  # By track: weight, weighted sum, time
        self._tells_typicality = False  # Whether the recognizer does; until it has, nothing is emitted

    @property
    def rejected(self) -> int:
        """Score rows since the last reset that held NaN or infinity and were skipped."""
        return int(self._core.rejected)

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts:
        """Adds `scores` and gives every track's verdict at `time` seconds; tracks that ended are forgotten.
        InputError where scores are not probabilities, or not of this policy's classes."""
        if len(scores) and scores.values.shape[1] != len(self.names):
            raise InputError(f"Policy {self.task}: expected scores of {len(self.names)} classes, got "
                             f"{scores.values.shape[1]}. Is this policy of another recognizer?")  # fmt: skip
        try:
            labels, confidence, reasons = self._core.update(
                tracks.ids, tracks.boxes, scores.ids, np.ascontiguousarray(scores.values), scores.times, time
            )
        except ValueError as error:
            raise InputError(f"Policy {self.task}: {error}. Logits go through a softmax first.") from error
        self._tells_typicality |= bool(scores.typicality.shape[1])
        if len(self.parents):
            self._try_parents(tracks.ids, labels, confidence, reasons)
        if self._tells_typicality and self.settings.unlike:
            self._note_typicality(scores, tracks)
            typicality = self.typicality(tracks.ids)
            decided = (reasons == Reason.OK) | (reasons == Reason.LOW_CONFIDENCE) | (reasons == Reason.LOW_MARGIN)
            early, unlike = decided & np.isnan(typicality), decided & (typicality < self.settings.unlike)
            reasons[early], reasons[unlike] = Reason.TOO_SHORT, Reason.UNLIKE_TRAINING
            labels[early | unlike] = -1
        return Verdicts.trusted(tracks.ids, labels, confidence, reasons)

    def decides(self, image: Reason) -> bool:
        """Whether verdicts may be emitted in images of this quality."""
        return image is Reason.OK or image.name.lower() in self.settings.per_band

    def withheld(self, verdicts: Verdicts, image: Reason) -> Verdicts:
        """The verdicts, without those that do not reach the threshold of this quality."""
        limit = np.float32(self.settings.per_band.get(image.name.lower(), NEVER))
        sure = np.full(len(verdicts), image is Reason.OK) | (verdicts.confidence >= limit)
        labels = np.where(sure, verdicts.labels, np.int32(-1))
        reasons = np.where(sure | (verdicts.reason != Reason.OK), verdicts.reason, np.uint8(image))
        return Verdicts(verdicts.ids, labels, verdicts.confidence, reasons)

    def _note_typicality(self, scores: Scores, tracks: Tracks) -> None:
        known = set(tracks.ids.tolist())
        self._typicality = {i: found for i, found in self._typicality.items() if i in known}
        for number, p, time in zip(scores.ids.tolist(), scores.typicality.tolist(), scores.times.tolist(), strict=True):
            if p and p[0] == p[0] and number in known:
                weight, total, last = self._typicality.get(number, (0.0, 0.0, time))
                keep = math.exp(-max(0.0, time - last) / self.settings.memory_s)
                self._typicality[number] = keep * weight + 1, keep * total + p[0], max(time, last)

    def _try_parents(self, ids: Array, labels: Array, confidence: Array, reasons: Array) -> None:
        """Emits the likeliest parent of each row whose class is not sure enough."""
        rows = np.flatnonzero((reasons == Reason.LOW_CONFIDENCE) | (reasons == Reason.LOW_MARGIN))
        if len(rows):
            sums = self.probabilities(ids[rows]).astype(np.float32) @ self._members
            best = sums.argmax(1)
            highest = sums[np.arange(len(rows)), best]
            sure = highest >= np.float32(self.settings.parent_threshold)
            labels[rows[sure]], confidence[rows[sure]] = len(self.names) + best[sure], highest[sure]
            reasons[rows[sure]] = Reason.OK

    def typicality(self, ids: Array) -> Array:
        """(N,) mean typicality to the training of the observations of `ids`, NaN where unknown."""
        known = (self._typicality.get(i) for i in ids.tolist())
        return np.array([np.nan if one is None else one[1] / one[0] for one in known])

    def probabilities(self, ids: Array) -> Array:
        """(N, C) calibrated class probabilities behind the verdicts of `ids`, NaN without observations."""
        return np.asarray(self._core.probabilities(np.ascontiguousarray(ids, np.int64)))

    def reset(self) -> None:
        """Forgets every track."""
        self._core.reset()
        self._typicality.clear()


def class_scores(tracks: Tracks, classes: int, time: float) -> Scores:
    """Class probabilities from detector scores: `score` for the label, the rest shared by the others."""
    observed = tracks.match >= 0
    labels, best = tracks.labels[observed], np.clip(tracks.scores[observed], 0, 1)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise InputError(f"class_scores: expected labels 0 to {classes - 1}, got {labels.tolist()}")
    values = np.repeat(((1 - best) / max(classes - 1, 1))[:, None], classes, axis=1).astype(np.float32)
    values[np.arange(len(labels)), labels] = best if classes > 1 else 1  # one class: nothing to confuse it with
    return Scores.trusted(tracks.ids[observed], values, np.full(len(labels), float(time)))


def class_thresholds(names: tuple[str, ...], settings: Settings) -> Array:
    """(C,) float32 threshold of each class."""
    unknown = set(settings.per_class) - set(names)
    if unknown:
        raise InputError(f"policy per_class: expected names of {list(names)}, got {sorted(unknown)}")
    return np.array([settings.per_class.get(name, settings.threshold) for name in names], np.float32)


def members(names: tuple[str, ...], settings: Settings) -> Array:
    """(C, P) float32, 1 where a class is below a parent; InputError for a tree that is none of these classes."""
    made = np.zeros((len(names), len(settings.tree)), np.float32)
    for column, (parent, below) in enumerate(settings.tree.items()):
        if parent in names or len(below) < 2 or len(set(below)) < len(below) or not set(below) <= set(names):
            expected = f"another name than a class, with two or more of {list(names)}"
            raise InputError(f"policy tree: expected {expected}, got {parent!r}: {list(below)}")
        made[[names.index(name) for name in below], column] = 1
    if (made.sum(1) > 1).any():
        got = names[int(made.sum(1).argmax())]
        raise InputError(f"policy tree: expected each class below one parent, got {got!r} in two")
    return made

"""Policy files (calibration/confidence/*.toml, docs/abstain.md): read with every error named, written with provenance.
`DriftMonitor` compares what a policy sees with what its file says of its tuning: has production drifted from it?"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from edgevid.abstain.policy import Policy, Settings, members
from edgevid.errors import FieldError, FileFormatError, InputError
from edgevid.files import Positive, Row, Share, read_toml, sha256_of, toml_text, write_atomic
from edgevid.files.schema import REQUIRED, Checked, Sha256, checked, pick, vars_of
from edgevid.speed.abstain import SpeedPolicy
from edgevid.types import KMH, Array, Reason, Verdicts

FORMAT = "edgevid-policy 1"
_DECIDE = ("threshold", "min_observations", "parent_threshold", "unlike", "margin", "min_seconds", "min_agreement",
           "stale_s", "min_side_px")  # fmt: skip
_EVIDENCE = ("aggregate", "temperature", "correlation", "memory_s", "odds", "step", "take", "drop", "ema_s")
_STATED = ("threshold", "min_observations", "aggregate", "temperature", "correlation")  # In a file in any case
_MADE = Checked("a text or a number")


def _rising(values: tuple[float, ...], _: Path) -> tuple[float, ...]:
    if len(values) < 3 or not all(a <= b for a, b in pairwise((0, *values, 1))):
        raise ValueError
    return values


@dataclass(frozen=True, slots=True)
class Tuned:
    """The tuning set in short, to detect drift from it."""

    quantiles: Annotated[tuple[float, ...], Checked("at least 3 rising numbers from 0 to 1", _rising)] = ()
    """Equally spaced quantiles 0 to 1 of the tracks' confidences."""
    abstain_rate: Share = math.nan  # Share of its tracks that the policy abstained on
    tracks: Annotated[int, Ge(0)] = 0  # How many tracks it has
    certified_risk: Share = math.nan  # Guaranteed share of wrong verdicts; no longer so once the monitor reports drift


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What a policy file holds."""

    names: tuple[str, ...]  # The recognizer's classes; none where the file only limits speeds
    settings: Settings
    task: str = ""
    model_sha256: str = ""  # Of the recognizer's model file; empty: bound to no model
    speed: SpeedPolicy | None = None
    tuned: Tuned = field(default_factory=Tuned)
    made: Mapping[str, str | float | int] = field(default_factory=dict)
    """Provenance: program, date, scores, target, what is certified."""
    path: Path = Path()
    sha256: str = ""  # Of the file that it was read from

    def policy(self) -> Policy:
        """A new policy with these names and settings."""
        made = Policy(self.names, self.settings, task=self.task)
        made.sha256 = self.sha256
        return made

    def must_fit(self, *, names: Iterable[str] | None, model_sha256: str | None) -> None:
        """FileFormatError where the policy was tuned for other classes or another model."""
        if names is not None and self.names and tuple(names) != self.names:
            expected = f"the recognizer's classes {list(names)}"
            raise FileFormatError(self.path, "names", expected=expected, got=list(self.names))
        if model_sha256 and self.model_sha256 and model_sha256 != self.model_sha256:
            expected = f"the hash {model_sha256} of the model in use (tune again with this model's scores)"
            raise FileFormatError(self.path, "model_sha256", expected=expected, got=self.model_sha256)


Decide: Any = pick(Settings, "Decide", ("per_class", "per_band", *_DECIDE), threshold=REQUIRED)
Evidence: Any = pick(Settings, "Evidence", _EVIDENCE)


def _names(names: tuple[str, ...], _: Path) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError
    return names


@dataclass(frozen=True)
class SpeedTable:
    """Limits of the standard error above which a speed is UNCERTAIN."""

    max_sigma_kmh: Positive = SpeedPolicy().max_sigma_mps * KMH  # A standard error up to this is accepted at any speed
    max_share: Share = SpeedPolicy().max_share  # And up to this share of the speed


@dataclass(frozen=True)
class PolicyTable:
    """An abstain policy: [decide] for the verdicts of a recognizer, [speed] for speeds, or both."""

    format: Literal["edgevid-policy 1"]  # Of this kind of file
    names: Annotated[tuple[str, ...], Checked("at least one class name, each once", _names)] = ()
    """The recognizer's classes."""
    task: str = ""  # The recognizer's task: "action"
    model_sha256: Sha256 = ""  # Of the recognizer's model file; left out: bound to no model
    decide: Decide | None = None  # When a verdict is emitted
    tree: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parents, each with two or more classes: vehicle = ["car", "truck"]."""
    evidence: Evidence = Evidence()  # How the observations of a track become one
    speed: SpeedTable | None = None  # Limits of speeds
    tuned: Tuned = Tuned()  # The tuning set in short, to detect drift from it
    made: Mapping[str, Annotated[str | int | float, _MADE]] = field(default_factory=dict)  # Provenance

    def __post_init__(self) -> None:
        if self.decide is None and self.speed is None:
            raise FieldError("policy", "decide", "a table [decide], or [speed] alone")
        if self.decide is not None and not self.names:
            raise FieldError("policy", "names", "the recognizer's classes, for [decide]")
        for name, value in self.decide.per_class.items() if self.decide else ():
            if name not in self.names:
                expected = f"one of the classes {', '.join(self.names)}"
                raise FieldError("policy", f"decide.per_class.{name}", expected, value)


def read_policy(path: str | Path, *, names: Iterable[str] | None = None, model_sha256: str | None = None) -> PolicyFile:
    """The policy file at `path`; FileFormatError names file, key, expected and got, also where it was tuned for other
    class `names` or another `model_sha256` than those of the recognizer in use (None: not compared)."""
    read = checked(PolicyTable, read_toml(path), Path(path))
    settings = Settings()
    if read.decide:
        settings = Settings(tree=read.tree, **vars_of(read.decide), **vars_of(read.evidence))
        members(read.names, settings)
    speed = SpeedPolicy(read.speed.max_sigma_kmh / KMH, read.speed.max_share) if read.speed else None
    found = PolicyFile(
        read.names, settings, read.task, read.model_sha256, speed, read.tuned, read.made, Path(path),
        sha256_of(Path(path)),
    )  # fmt: skip
    found.must_fit(names=names, model_sha256=model_sha256)
    return found


def write_policy(path: str | Path, policy: PolicyFile) -> None:
    """Writes `policy`; reading it back gives the same."""
    settings, tuned, speed = policy.settings, policy.tuned, policy.speed
    top = {"format": FORMAT, "task": policy.task or None, "names": policy.names or None}
    decide, evidence = (
        {key: value for key in keys if (value := getattr(settings, key)) != getattr(Settings(), key) or key in _STATED}
        for keys in (_DECIDE, _EVIDENCE)
    )
    limits = {"max_sigma_kmh": speed.max_sigma_mps * KMH, "max_share": speed.max_share} if speed else None
    tables: dict[str, Row | None] = {
        "": top | {"model_sha256": policy.model_sha256 or None},
        "decide": decide if policy.names else None,
        "decide.per_class": settings.per_class,
        "decide.per_band": settings.per_band,
        "tree": settings.tree,
        "evidence": evidence if policy.names else None,
        "speed": limits,
        "tuned": {k: v for k, v in vars_of(tuned).items() if v == v} if tuned.quantiles else None,
        "made": policy.made,
    }
    write_atomic(Path(path), toml_text({title: [row] for title, row in tables.items() if row}))


PSI_ALARM = 0.2  # Population stability index above which a shift is large (the custom of credit scoring)
P_ALARM = 0.001  # Probability of the Kolmogorov-Smirnov distance below which chance does not explain it
RATE_ALARM = 2.0  # Factor by which the abstain rate may leave the tuned one


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one sample of confidences lies from another."""

    ks: float  # Kolmogorov-Smirnov distance, 0 to 1
    p: float  # Probability of such a distance by chance (asymptotic)
    psi: float  # Population stability index over ten bins with equal shares of the first sample

    @property
    def alarm(self) -> bool:
        """Whether the shift is both unlikely to be chance and large enough to matter."""
        return self.p < P_ALARM and (self.psi > PSI_ALARM or self.ks > 0.1)


def shift(tuning: Array, production: Array) -> Shift:
    """The shift between two samples of confidences."""
    if not len(tuning) or not len(production):
        raise InputError("shift: expected two samples with values, got an empty one")
    distance = ks_distance(tuning, production)
    size = len(tuning) * len(production) / (len(tuning) + len(production))
    return Shift(distance, kolmogorov_p(distance, size), psi(tuning, production))


def ks_distance(first: Array, second: Array) -> float:
    """Largest distance between the two samples' distribution functions.

    >>> ks_distance(np.array([0.1, 0.2]), np.array([0.2, 0.3]))
    0.5
    """
    a, b = np.sort(first), np.sort(second)
    places = np.concatenate([a, b])
    gap = np.searchsorted(a, places, "right") / len(a) - np.searchsorted(b, places, "right") / len(b)
    return float(np.abs(gap).max())


def kolmogorov_p(distance: float, size: float) -> float:
    """P(distance or more by chance) for effective sample `size` (Stephens' form of Kolmogorov's series)."""
    x = (math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size)) * distance
    if x < 0.2:
        return 1.0  # the series converges slowly here, and the probability is 1 to ten digits
    return min(1.0, 2 * sum((1 if k % 2 else -1) * math.exp(-2 * k * k * x * x) for k in range(1, 101)))


def psi(first: Array, second: Array, bins: int = 10) -> float:
    """Population stability index: sum of (q - p) ln(q / p) over bins with equal shares of `first`. Half an
    observation is added to each bin, so that an empty one gives no infinity."""
    edges = np.unique(np.quantile(first, np.linspace(0, 1, bins + 1)[1:-1]))
    p, q = (
        (np.bincount(np.searchsorted(edges, x, "right"), minlength=len(edges) + 1) + 0.5)
        / (len(x) + 0.5 * (len(edges) + 1))
        for x in (first, second)
    )
    return float(((q - p) * np.log(q / p)).sum())


def sketch(confidences: Array, points: int = 101) -> tuple[float, ...]:
    """Equally spaced quantiles 0 to 1, the shape that a policy file keeps of its tuning set."""
    return tuple(round(float(q), 6) for q in np.quantile(confidences, np.linspace(0, 1, points)))


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What the monitor found over its window of tracks."""

    tracks: int
    abstain_rate: float
    tuned_rate: float
    shift: Shift | None  # None while there are too few tracks, or where the policy file keeps no quantiles
    alarm: bool
    description: str  # One sentence for a log


class DriftMonitor:
    """Compares the last tracks' confidences and abstain rate with those of the tuning set. The unit is the
    track: its last verdict counts once, when the track ends. Tracks that never reached the threshold test (too
    small, not measured, too short, stale) do not count."""

    DECIDED = (Reason.OK, Reason.LOW_CONFIDENCE, Reason.LOW_MARGIN, Reason.DISAGREEMENT)

    def __init__(self, tuned: Tuned, *, window: int = 1000, min_tracks: int = 100) -> None:
        """Compares the last `window` tracks, as soon as there are `min_tracks`."""
        if not 1 <= min_tracks <= window:
            raise InputError(f"DriftMonitor: expected 1 <= min_tracks <= window, got {min_tracks}, {window}")
        if math.isnan(tuned.abstain_rate) and not tuned.quantiles:
            raise InputError("DriftMonitor: expected a tuned policy (its file has no [tuned]), got none")
        self._tuned, self._min_tracks = tuned, min_tracks
        # The sketch stands for the tuning sample: as many points as it had tracks, on its quantile line.
        knots, size = np.array(tuned.quantiles), tuned.tracks or len(tuned.quantiles)
        even = (np.arange(size) + 0.5) / size
        self._sample = np.interp(even, np.linspace(0, 1, len(knots)), knots) if len(knots) else knots
        self._window: deque[tuple[float, bool]] = deque(maxlen=window)
        self._open: dict[int, tuple[float, bool]] = {}

    def update(self, verdicts: Verdicts) -> None:
        """Adds one frame's verdicts."""
        now = dict.fromkeys(verdicts.ids.tolist(), False)
        for number in [n for n in self._open if n not in now]:
            self._window.append(self._open.pop(number))
        decided = np.isin(verdicts.reason, self.DECIDED)
        rows = zip(verdicts.ids[decided], verdicts.confidence[decided], verdicts.labels[decided], strict=True)
        for number, confidence, label in rows:
            self._open[int(number)] = float(confidence), bool(label < 0)

    def reset(self) -> None:
        """Ends all tracks, because the source has changed and ids may start again. The window stays."""
        self._window.extend(self._open.values())
        self._open.clear()

    def report(self) -> DriftReport:
        """The comparison over the current window."""
        count, tuned = len(self._window), self._tuned.abstain_rate
        rate = sum(abstained for _, abstained in self._window) / count if count else math.nan
        if count < self._min_tracks:
            text = f"{count} tracks so far: drift is tested from {self._min_tracks} on"
            return DriftReport(count, rate, tuned, None, False, text)
        confidences = np.array([confidence for confidence, _ in self._window])
        found, faults = shift(self._sample, confidences) if len(self._sample) else None, list[str]()
        spread = math.sqrt(max(tuned * (1 - tuned), 1e-4) * (1 / count + 1 / max(self._tuned.tracks, 1)))
        far = rate > RATE_ALARM * tuned or rate < tuned / RATE_ALARM  # of a NaN neither
        if far and abs(rate - tuned) > 3.3 * spread:
            faults.append("the abstain rate has drifted")
        if found is not None and found.alarm:
            faults.append(f"confidences have shifted (KS {found.ks:.2f}, PSI {found.psi:.2f})")
        text = f"last {count} tracks: {rate:.0%} abstained"
        text += f", {tuned:.0%} when tuned" if not math.isnan(tuned) else ""
        if faults:
            text += ": " + " and ".join(faults) + ". Tune again with scores from this source."
            if self._tuned.certified_risk == self._tuned.certified_risk:
                text += f" The guarantee has expired: at most {self._tuned.certified_risk:.2%} wrong held there only."
        return DriftReport(count, rate, tuned, found, bool(faults), text)

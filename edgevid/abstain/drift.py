"""Has production drifted from what a policy was tuned on? Two-sample tests, and a monitor at run time."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from edgevid.abstain.file import Tuned
from edgevid.errors import InputError
from edgevid.types import Array, Reason, Verdicts

PSI_ALARM = 0.2  # Population stability index above which a shift is large (the custom of credit scoring)
P_ALARM = 0.001  # Probability of the Kolmogorov-Smirnov distance below which chance does not explain it
RATE_ALARM = 2.0  # Factor by which the abstain rate may leave the tuned one


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one sample of confidences lies from another."""

    ks: float
    """Kolmogorov-Smirnov distance, 0 to 1."""
    p: float
    """Probability of such a distance by chance (asymptotic)."""
    psi: float
    """Population stability index over ten bins with equal shares of the first sample."""

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
    series = sum((1 if k % 2 else -1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, 2 * series)


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
    shift: Shift | None
    """None while there are too few tracks, or where the policy file keeps no quantiles."""
    alarm: bool
    description: str
    """One sentence for a log."""


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
        found, faults = self._shift(), []
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

    def _shift(self) -> Shift | None:
        if not self._tuned.quantiles:
            return None
        now = np.array([confidence for confidence, _ in self._window])
        knots = np.array(self._tuned.quantiles)
        # The sketch stands for the tuning sample: as many points as it had tracks, on its quantile line.
        size = self._tuned.tracks or len(knots)
        even = np.interp((np.arange(size) + 0.5) / size, np.linspace(0, 1, len(knots)), knots)
        return shift(even, now)

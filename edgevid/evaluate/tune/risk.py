"""Selective prediction: risk-coverage curves, their areas, and thresholds with a guaranteed risk.

Notation of the literature: a verdict is answered when its confidence reaches the threshold; coverage is
the share answered; risk is the share of wrong ones among the answered. The unit is the track: frames of
one track depend on each other and must be one verdict before they come here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class Curve:
    """Everything that thresholding `n` verdicts can give; row i: the i-th distinct confidence, falling."""

    thresholds: Array
    """(K,) distinct confidences, falling: answering means confidence >= threshold."""
    answered: Array
    """(K,) int, verdicts that are answered."""
    wrong: Array
    """(K,) int, wrong ones among them."""
    n: int
    errors: int
    """Wrong ones among all n."""
    aurc: float
    """Mean over k of the risk of the k most confident (Geifman et al. 2019)."""
    aurc_best: float
    """AURC of the same errors ranked perfectly."""
    augrc: float
    """Mean over k of (wrong among the k most confident) / n (Traub et al. 2024, arXiv 2407.01032)."""

    @property
    def coverage(self) -> Array:
        """(K,) share answered."""
        return np.asarray(self.answered / self.n)

    @property
    def risk(self) -> Array:
        """(K,) share of wrong ones among the answered."""
        return np.asarray(self.wrong / self.answered)

    @property
    def errors_kept(self) -> Array:
        """(K,) share of the errors that remain; 0 where there are none to keep."""
        return np.asarray(self.wrong / max(self.errors, 1))

    @property
    def e_aurc(self) -> float:
        """AURC above the best possible: 0 for a perfect ranking."""
        return self.aurc - self.aurc_best

    def at(self, threshold: float) -> tuple[int, int]:
        """(answered, wrong) with `threshold`."""
        row = int(np.searchsorted(-self.thresholds, -threshold, "right")) - 1
        return (0, 0) if row < 0 else (int(self.answered[row]), int(self.wrong[row]))


def curve(confidence: Array, wrong: Array) -> Curve:
    """The curve of verdicts with `confidence` (N,) of which `wrong` (N,) says the errors.

    Equal confidences are one block: they are answered together, and the areas take the mean over the
    orders within it, so that the order of the rows changes nothing.
    """
    confidence, wrong = np.asarray(confidence, np.float64), np.asarray(wrong, bool)
    if confidence.ndim != 1 or confidence.shape != wrong.shape or not len(confidence):
        raise InputError(
            f"risk curve: expected equally many confidences and errors, "
            f"got {confidence.shape} and {wrong.shape}"
        )
    if not np.isfinite(confidence).all():
        raise InputError("risk curve: expected finite confidences, got NaN or infinity")
    order = np.argsort(-confidence, kind="stable")
    sorted_, n = confidence[order], len(confidence)
    ends = np.flatnonzero(np.append(np.diff(sorted_) != 0, True)) + 1
    counted = np.cumsum(wrong[order])[ends - 1]
    k = np.arange(1, n + 1)
    smooth = np.interp(k, np.concatenate([[0], ends]), np.concatenate([[0], counted]))
    errors = int(wrong.sum())
    best = (np.arange(1, errors + 1) / (n - errors + np.arange(1, errors + 1))).sum() / n
    aurc, augrc = float((smooth / k).mean()), float(smooth.mean() / n)
    return Curve(sorted_[ends - 1], ends, counted, n, errors, aurc, float(best), augrc)


def betainc(a: float, b: float, x: float) -> float:
    """Regularized incomplete beta function I_x(a, b), by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - betainc(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny, c, d = 1e-300, 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 + term * d
            c = 1 + term / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction / a


def betaincinv(a: float, b: float, p: float) -> float:
    """The x with I_x(a, b) = p, by bisection."""
    low, high = 0.0, 1.0
    while high - low > 1e-14 * max(high, 1e-3):
        middle = (low + high) / 2
        low, high = (middle, high) if betainc(a, b, middle) < p else (low, middle)
    return (low + high) / 2


def upper_bound(wrong: int, n: int, delta: float) -> float:
    """Clopper-Pearson: the true risk is below this with probability 1 - delta, after `wrong` of `n`.

    >>> round(upper_bound(5, 200, 0.05), 4)
    0.0518
    """
    return 1.0 if wrong >= n else betaincinv(wrong + 1, n - wrong, 1 - delta)


def lower_bound(wrong: int, n: int, delta: float) -> float:
    """Clopper-Pearson: the true risk is above this with probability 1 - delta."""
    return 0.0 if wrong <= 0 else betaincinv(wrong, n - wrong + 1, delta)


def certified(wrong: int, n: int, risk: float, delta: float) -> bool:
    """Whether `wrong` of `n` prove a risk of at most `risk`: upper_bound <= risk, without inverting."""
    return n > wrong and betainc(wrong + 1, n - wrong, risk) >= 1 - delta


def needed(risk: float, delta: float) -> int:
    """Error-free verdicts that certify `risk` with probability 1 - delta.

    >>> needed(0.05, 0.05), needed(0.01, 0.05)
    (59, 299)
    """
    return math.ceil(math.log(delta) / math.log1p(-risk))


def naive(found: Curve, risk: float) -> float | None:
    """What is usually done: the lowest threshold whose measured risk is at most `risk`. No promise."""
    rows = np.flatnonzero(found.risk <= risk)
    return float(found.thresholds[rows[-1]]) if len(rows) else None


def fixed_sequence(found: Curve, risk: float, delta: float) -> float | None:
    """Learn then test: thresholds from strict to loose, each tested at full `delta`, to the first failure.

    (Angelopoulos et al. 2021, arXiv 2110.01052.) None where not even the first passes. The sequence begins
    at three times the fewest verdicts that could pass (at half of all where there are fewer), for a start
    at the very strictest is stopped by a single error; that depends on n, `risk` and `delta` only.
    """
    base = needed(risk, delta)
    start = min(3 * base, max(base, found.n // 2))
    best = None
    for row in range(int(np.searchsorted(found.answered, start)), len(found.thresholds)):
        if not certified(int(found.wrong[row]), int(found.answered[row]), risk, delta):
            break
        best = float(found.thresholds[row])
    return best


def guaranteed_risk(found: Curve, risk: float, delta: float) -> float | None:
    """Selection with guaranteed risk: binary search, each test at delta / number of tests.

    (Geifman and El-Yaniv 2017, arXiv 1705.08500.) More cautious than `fixed_sequence`.
    """
    tests = max(1, math.ceil(math.log2(len(found.thresholds) + 1)))
    low, high, best = 0, len(found.thresholds) - 1, None
    while low <= high:
        row = (low + high) // 2
        if certified(int(found.wrong[row]), int(found.answered[row]), risk, delta / tests):
            best, low = float(found.thresholds[row]), row + 1
        else:
            high = row - 1
    return best


def conformal(found: Curve, risk: float) -> float | None:
    """Conformal risk control of the JOINT risk P(answered and wrong), in expectation.

    (Angelopoulos et al. 2022, arXiv 2208.02814.) Not the share of wrong ones among the answered.
    """
    rows = np.flatnonzero((found.wrong + 1) / (found.n + 1) <= risk)
    return float(found.thresholds[rows[-1]]) if len(rows) else None


def errors_kept(found: Curve, share: float) -> float | None:
    """The lowest threshold that keeps at most `share` of the errors; None where none does."""
    rows = np.flatnonzero(found.wrong <= share * found.errors + 1e-9)
    return float(found.thresholds[rows[-1]]) if len(rows) else None


def knee(found: Curve) -> float:
    """The threshold with the largest (share of errors gone - share refused)."""
    gain = (1 - found.errors_kept) - (1 - found.coverage)
    return float(found.thresholds[int(np.flatnonzero(gain >= gain.max() - 1e-12)[-1])])


def chow(wrong_cost: float, silence_cost: float) -> float:
    """Chow's rule: answer where 1 - confidence <= silence cost / wrong cost (calibrated confidences)."""
    if wrong_cost <= 0 or silence_cost < 0:
        raise InputError(
            f"costs: expected a positive cost of errors, got {wrong_cost:g} and {silence_cost:g}"
        )
    return max(0.0, 1 - silence_cost / wrong_cost)


def refuse_share(confidence: Array, share: float) -> float:
    """The threshold that refuses `share` of these verdicts, as nearly as ties allow and never more."""
    ordered = np.sort(np.asarray(confidence, np.float64))
    return float(ordered[min(int(share * len(ordered) + 1e-9), len(ordered) - 1)])


def reachable_risk(found: Curve, delta: float) -> tuple[float, float] | None:
    """(risk, threshold): the lowest risk that `fixed_sequence` can certify; None where none below 1."""
    low, high = 0.0, 1.0
    if fixed_sequence(found, 0.999, delta) is None:
        return None
    high = 0.999
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if fixed_sequence(found, middle, delta) is not None else (middle, high)
    high = math.ceil(high * 1e4) / 1e4
    threshold = fixed_sequence(found, high, delta)
    return None if threshold is None else (high, threshold)

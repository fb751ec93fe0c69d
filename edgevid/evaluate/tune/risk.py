"""Selective prediction: risk-coverage curves, their areas, and thresholds with a guaranteed risk. A verdict is emitted
when its confidence reaches the threshold; coverage is the share emitted; risk is the share of errors among the emitted
verdicts. The unit is the track: its frames depend on each other, so they are reduced to one verdict first."""

import math
from dataclasses import dataclass

import numpy as np

from edgevid.abstain.policy import LIMITS
from edgevid.actions.recognizer import softmax
from edgevid.errors import InputError
from edgevid.types import Array

BINS = 15


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Coverage and errors of `n` verdicts at every threshold, a row for each distinct confidence."""

    thresholds: Array  # (K,) distinct confidences, falling: emitted means confidence >= threshold
    emitted: Array  # (K,) int, verdicts that are emitted
    wrong: Array  # (K,) int, wrong ones among them
    n: int
    errors: int  # Wrong ones among all n
    aurc: float  # Mean over k of the risk of the k most confident (Geifman et al. 2019)
    aurc_optimal: float  # AURC of the same errors ranked perfectly
    augrc: float  # Mean over k of (wrong among the k most confident) / n (Traub et al. 2024, arXiv 2407.01032)

    @property
    def coverage(self) -> Array:
        """(K,) share emitted."""
        return np.asarray(self.emitted / self.n)

    @property
    def risk(self) -> Array:
        """(K,) share of wrong verdicts among the emitted ones."""
        return np.asarray(self.wrong / self.emitted)

    @property
    def residual_errors(self) -> Array:
        """(K,) share of the errors that remain; 0 without errors."""
        return np.asarray(self.wrong / max(self.errors, 1))

    @property
    def e_aurc(self) -> float:
        """AURC above the best possible: 0 for a perfect ranking."""
        return self.aurc - self.aurc_optimal

    def at(self, threshold: float) -> tuple[int, int]:
        """(emitted, wrong) with `threshold`."""
        row = int(np.searchsorted(-self.thresholds, -threshold, "right")) - 1
        return (0, 0) if row < 0 else (int(self.emitted[row]), int(self.wrong[row]))


def curve(confidence: Array, wrong: Array) -> RiskCoverage:
    """The curve of verdicts with `confidence` (N,) of which `wrong` (N,) marks the errors, in any order. Equal
    confidences are one block: they are emitted together, and the areas take the mean over the orders within it."""
    confidence, wrong = np.asarray(confidence, np.float64), np.asarray(wrong, bool)
    if confidence.ndim != 1 or confidence.shape != wrong.shape or not len(confidence):
        raise InputError(f"risk curve: expected equal shapes, got {confidence.shape} and {wrong.shape}")
    if not np.isfinite(confidence).all():
        raise InputError("risk curve: expected finite confidences, got NaN or infinity")
    order = np.argsort(-confidence, kind="stable")
    sorted_, n = confidence[order], len(confidence)
    ends = np.flatnonzero(np.append(np.diff(sorted_) != 0, True)) + 1
    counted = np.cumsum(wrong[order])[ends - 1]
    del order  # of a million rows each of these takes 8 MB
    k = np.arange(1, n + 1)
    smooth = np.interp(k, np.concatenate([[0], ends]), np.concatenate([[0], counted]))
    errors = int(wrong.sum())
    best = (np.arange(1, errors + 1) / (n - errors + np.arange(1, errors + 1))).sum() / n
    aurc, augrc = float((smooth / k).mean()), float(smooth.mean() / n)
    return RiskCoverage(sorted_[ends - 1], ends, counted, n, errors, aurc, float(best), augrc)


def betainc(a: float, b: float, x: float) -> float:
    """Regularized incomplete beta function I_x(a, b), by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - betainc(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
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


def student_t(degrees: int) -> float:
    """Student's t for 95 %, two-sided.

    >>> round(student_t(1), 3), round(student_t(9), 3)
    (12.706, 2.262)
    """
    x = betaincinv(degrees / 2, 0.5, 0.05)
    return math.sqrt(degrees * (1 - x) / x)


def upper_bound(wrong: int, n: int, delta: float) -> float:
    """Clopper-Pearson: the true risk is below this with probability 1 - delta, after `wrong` of `n`.

    >>> round(upper_bound(5, 200, 0.05), 4)
    0.0518
    """
    return 1.0 if wrong >= n else betaincinv(wrong + 1, n - wrong, 1 - delta)


def certified(wrong: int, n: int, risk: float, delta: float) -> bool:
    """Whether `wrong` of `n` certify a risk of at most `risk`: upper_bound <= risk, without inverting."""
    return n > wrong and betainc(wrong + 1, n - wrong, risk) >= 1 - delta


def min_error_free(risk: float, delta: float) -> int:
    """Error-free verdicts that certify `risk` with probability 1 - delta.

    >>> min_error_free(0.05, 0.05), min_error_free(0.01, 0.05)
    (59, 299)
    """
    return math.ceil(math.log(delta) / math.log1p(-risk))


def naive(found: RiskCoverage, risk: float) -> float | None:
    """The common rule: the lowest threshold whose measured risk is at most `risk`. No guarantee."""
    rows = np.flatnonzero(found.risk <= risk)
    return float(found.thresholds[rows[-1]]) if len(rows) else None


def fixed_sequence(found: RiskCoverage, risk: float, delta: float) -> float | None:
    """Learn then test: thresholds from strict to loose, each tested at full `delta`, to the first failure.

    (Angelopoulos et al. 2021, arXiv 2110.01052.) None where even the first test fails. The sequence begins at
    three times the fewest verdicts that could pass (at half of all where there are fewer), because a single
    error stops a start at the strictest threshold; the start depends on n, `risk` and `delta` only."""
    base = min_error_free(risk, delta)
    start = min(3 * base, max(base, found.n // 2))
    first = row = int(np.searchsorted(found.emitted, start))
    while row < len(found.thresholds):
        wrong, emitted, step = int(found.wrong[row]), int(found.emitted[row]), 1
        if not certified(wrong, emitted, risk, delta):
            break
        while certified(wrong + step, emitted, risk, delta):  # what passes here passes with more verdicts
            wrong, step = wrong + step, 2 * step
        row = int(np.searchsorted(found.wrong, wrong, side="right"))
    return float(found.thresholds[row - 1]) if row > first else None


def two_levels(leaf: tuple[Array, Array], parent: tuple[Array, Array], risk: float, delta: float) -> float | None:
    """The lowest threshold at which both the classes' risk and that of all answers is certified, with `delta` in all.

    A track is answered by its class where its confidence reaches the threshold, else by its parent where that one's
    does; each level is (confidence (N,), wrong (N,)). The thresholds are tested from strict to loose, as in
    `fixed_sequence`; a threshold passes where both tests do (intersection-union: Berger 1982)."""
    (c1, wrong1), (c2, wrong2) = leaf, parent
    thresholds = np.unique(np.concatenate(leaf[:1] + parent[:1]))[::-1]

    def count(values: Array) -> Array:
        return len(values) - np.searchsorted(np.sort(values), thresholds)

    classes, answers, mistaken = count(c1), count(np.maximum(c1, c2)), count(c1[wrong1])
    wrong = mistaken + count(c2[wrong2]) - count(np.minimum(c1, c2)[wrong2])
    base = min_error_free(risk, delta)
    row = first = int(np.searchsorted(classes, min(3 * base, max(base, len(c1) // 2))))
    more = np.append(True, (np.diff(wrong) > 0) | (np.diff(mistaken) > 0))  # others pass where the one before did
    while row < len(thresholds):
        pairs = ((wrong[row], answers[row]), (mistaken[row], classes[row]))
        if (row == first or more[row]) and not all(certified(int(w), int(n), risk, delta) for w, n in pairs):
            break
        row += 1
    return float(thresholds[row - 1]) if row > first else None


def conformal_risk(found: RiskCoverage, risk: float) -> float | None:
    """Conformal risk control of the JOINT risk P(emitted and wrong), in expectation. (Angelopoulos et al. 2022,
    arXiv 2208.02814.) Not the share of wrong verdicts among the emitted ones."""
    rows = np.flatnonzero((found.wrong + 1) / (found.n + 1) <= risk)
    return float(found.thresholds[rows[-1]]) if len(rows) else None


def residual_errors(found: RiskCoverage, share: float) -> float | None:
    """The lowest threshold that keeps at most `share` of the errors; None where none does."""
    rows = np.flatnonzero(found.wrong <= share * found.errors + 1e-9)
    return float(found.thresholds[rows[-1]]) if len(rows) else None


def knee(found: RiskCoverage) -> float:
    """The threshold with the largest (share of errors removed - abstention rate)."""
    gain = found.coverage - found.residual_errors
    return float(found.thresholds[int(np.flatnonzero(gain >= gain.max() - 1e-12)[-1])])


def chow(cost_ratio: float) -> float:
    """Chow's rule for calibrated confidences, where one error costs as much as `cost_ratio` abstentions."""
    return max(0.0, 1 - 1 / cost_ratio) if cost_ratio > 0 else 0.0


def abstain_threshold(confidence: Array, share: float) -> float:
    """The threshold that abstains on `share` of these verdicts, as nearly as ties allow and never on more."""
    ordered = np.sort(np.asarray(confidence, np.float64))
    return float(ordered[min(int(share * len(ordered) + 1e-9), len(ordered) - 1)])


def reachable_risk(found: RiskCoverage, delta: float) -> tuple[float, float] | None:
    """(risk, threshold): the lowest risk that `fixed_sequence` can certify; None where none below 1."""
    low, high = 0.0, 0.999
    if fixed_sequence(found, high, delta) is None:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if fixed_sequence(found, middle, delta) is not None else (middle, high)
    high = math.ceil(high * 1e4) / 1e4
    threshold = fixed_sequence(found, high, delta)
    return None if threshold is None else (high, threshold)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy in bins of equal width."""

    counts: Array  # (B,) verdicts in each bin
    confidence: Array  # (B,) their mean confidence, NaN where empty
    accuracy: Array  # (B,) the share of correct ones, NaN where empty
    ece: float  # Expected calibration error: mean |accuracy - confidence|, weighted by counts (Guo et al. 2017)


def reliability(confidence: Array, right: Array, bins: int = BINS) -> Reliability:
    """Bins (low, high] over 0 to 1; a confidence of 0 falls into the first."""
    place = np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, confidence, bins) / counts
        share = np.bincount(place, np.asarray(right, np.float64), bins) / counts
    ece = float(np.nansum(counts * np.abs(share - mean)) / len(place))
    return Reliability(counts, mean, share, ece)


def apply_temperature(values: Array, temperature: float) -> Array:
    """Rows of p^(1/T), normalized."""
    return softmax(np.log(np.maximum(values, 1e-12)) / temperature)


def nll(values: Array, labels: Array, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the true classes."""
    rows = apply_temperature(np.asarray(values, np.float64), temperature)
    return float(-np.log(np.maximum(rows[np.arange(len(labels)), labels], 1e-300)).mean())


def fit_temperature(values: Array, labels: Array) -> float:
    """The temperature with the least negative log-likelihood, by golden section on 1/T (it is convex there).
    Where all rows are correct, a lower temperature is always better, and the limit is returned."""
    low, high = 1 / LIMITS["temperature"][1], 1 / LIMITS["temperature"][0]
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-5 * high:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if nll(values, labels, 1 / a) <= nll(values, labels, 1 / b) else (a, high)
    return 2 / (low + high)

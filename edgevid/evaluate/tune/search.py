"""Tunes a policy: temperature and correlation on held-out tracks, the threshold on the others."""

import dataclasses
import datetime
import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from edgevid._version import __version__
from edgevid.abstain.file import PolicyFile, Shift, Tuned, shift, sketch
from edgevid.abstain.policy import BANDS, NEVER, Settings, class_thresholds, members
from edgevid.errors import InputError
from edgevid.evaluate.tune import risk
from edgevid.evaluate.tune.risk import Reliability, fit_temperature, nll, reliability
from edgevid.evaluate.tune.score_files import named
from edgevid.evaluate.tune.scores import ScoreTable, TrackVerdicts, gather
from edgevid.types import Array

Kind = Literal["knee", "max-risk", "max-joint-risk", "max-residual-errors", "abstain-rate", "cost-ratio"]
Method = Literal["fixed-sequence", "naive"]
KINDS, METHODS = get_args(Kind), get_args(Method)
HOLDOUT = 0.3  # Share of the tracks that fit temperature and correlation
MIN_TRACKS_TO_FIT = 50  # Fewer held-out tracks than this give no trustworthy temperature
MIN_TRACKS_OF_CLASS = 100  # Fewer verdicts of a class than this give it no threshold of its own


@dataclass(frozen=True, slots=True)
class Target:
    """What the threshold must achieve."""

    kind: Kind = "knee"
    """"knee": the largest errors removed minus abstention rate; "max-risk": share of wrong ones among the
    emitted, guaranteed; "max-joint-risk": share of all tracks emitted and wrong, on average;
    "max-residual-errors": share of the errors that remains; "abstain-rate"; "cost-ratio": one error costs as
    much as `value` abstentions."""
    value: float = 0.0
    confidence: float = 0.95  # Of the guarantee of max-risk
    method: Method = "fixed-sequence"  # Of max-risk: "fixed-sequence" or "naive" (no guarantee)

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.method not in METHODS:
            raise InputError(f"target: expected {KINDS} and {METHODS}, got {self.kind!r} and {self.method!r}")
        high = np.inf if self.kind == "cost-ratio" else 1.0
        if self.kind != "knee" and not 0 <= self.value <= high:
            raise InputError(f"{self.kind}: expected a number from 0 to {high:g}, got {self.value!r}")
        if self.kind in ("max-risk", "max-joint-risk") and not 0 < self.value < 1:
            raise InputError(f"{self.kind}: expected more than 0 and less than 1, got {self.value!r}")
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence: expected more than 0 and less than 1, got {self.confidence!r}")

    @property
    def delta(self) -> float:
        """Allowed probability that the guarantee fails."""
        return 1 - self.confidence


@dataclass(frozen=True, slots=True)
class Report:
    """What was chosen, and what it achieves on the tracks it was chosen on (not those of the temperature)."""

    table: ScoreTable
    target: Target
    settings: Settings
    chosen_on: TrackVerdicts
    fitted_on: int  # Tracks held out for temperature and correlation
    curve: risk.RiskCoverage | None  # None without labels
    before: Reliability | None
    after: Reliability | None
    production: TrackVerdicts | None = None
    shift: Shift | None = None
    rejected: tuple[tuple[float, float, float], ...] = ()
    """Limits of typicality, with the shares of known and of unknown tracks (NaN: none were given) below each."""
    warnings: list[str] = field(default_factory=list)

    @property
    def emitted(self) -> Array:
        """(K,) which verdicts of `chosen_on` reach their thresholds."""
        return passes(self.chosen_on, self.settings, self.table.names)

    @property
    def coverage(self) -> float:
        """Share emitted."""
        return float(self.emitted.mean())

    @property
    def parents(self) -> tuple[float, float]:
        """Share of the tracks whose parent is emitted, and of wrong ones among them."""
        found, emitted = coarser(self.chosen_on, self.settings, self.table.names)
        return float(emitted.sum() / len(self.emitted)), float(found.wrong[emitted].mean()) if emitted.any() else 0.0

    @property
    def wrong(self) -> int:
        """Wrong verdicts among the emitted ones."""
        return int(self.chosen_on.wrong[self.emitted].sum())

    @property
    def measured_risk(self) -> float:
        """Share of wrong verdicts among the emitted ones."""
        return self.wrong / max(int(self.emitted.sum()), 1)

    @property
    def errors_removed(self) -> float:
        """Share of the original errors that are no longer emitted; 1 where there were none."""
        errors = int(self.chosen_on.wrong.sum())
        return 1 - self.wrong / errors if errors else 1.0

    @property
    def guaranteed(self) -> bool:
        """Whether the target holds with the stated probability, not only on these tracks."""
        return self.target.kind == "max-risk" and self.target.method != "naive"

    def policy(self, *, task: str = "", model_sha256: str = "") -> PolicyFile:
        """The policy file of this report, with its provenance."""
        deployed, target = self.production or self.chosen_on, self.target
        leaf, confidence = passes(deployed, self.settings, self.table.names), deployed.confidence.copy()
        rate = float(1 - leaf.mean())
        if self.settings.tree:
            parents, emitted = coarser(deployed, self.settings, self.table.names)
            confidence[np.flatnonzero(~leaf)[emitted]] = parents.confidence[emitted]
            rate -= float(emitted.sum() / len(leaf))
        made: dict[str, str | float | int] = {
            "by": f"edgevid {__version__} tune", "date": datetime.date.today().isoformat(),
            "scores": self.table.path.name, "scores_sha256": self.table.sha256, "target": target.kind,
            "target_value": float(target.value), "tracks_chosen_on": len(self.chosen_on.confidence),
            "tracks_fitted_on": self.fitted_on, "coverage": round(self.coverage, 6),
        }  # fmt: skip
        if self.curve is not None:
            made |= {key: round(getattr(self, key), 6) for key in ("measured_risk", "errors_removed")}
        if self.settings.tree:
            made["parent_coverage"], made["parent_risk"] = (round(share, 6) for share in self.parents)
        if self.guaranteed:
            made |= {"certified_risk": target.value, "certified_with": target.confidence, "method": target.method}
        certified = target.value if self.guaranteed else math.nan
        tuned = Tuned(sketch(confidence), round(rate, 6), len(deployed.confidence), certified)
        return PolicyFile(self.table.names, self.settings, task, model_sha256, tuned=tuned, made=made)


def tune(
    table: ScoreTable, target: Target | None = None, *, settings: Settings | None = None,
    production: ScoreTable | None = None, per_class: bool = False, fit: bool = True, unlike: float | None = None,
    unknown: ScoreTable | None = None,
) -> Report:  # fmt: skip
    """The policy for `target` (default: the knee) from scores of labeled tracks.

    `settings` gives the rules besides the threshold. With labels and `fit`, HOLDOUT of the tracks fit
    temperature and correlation and the others choose the threshold, so that a guarantee stays valid. Without
    labels only abstain-rate can be chosen. `production` holds scores from the deployment: they are compared
    with the table, and abstain-rate is chosen on them. InputError states what is reachable instead.
    `unlike` is the share of known tracks that may be rejected as UNLIKE_TRAINING (None: the limit of `settings`);
    `unknown` holds scores of clips of none of the classes, whose share rejected is reported next to it.
    With `settings.tree` max-risk certifies the emitted classes, and all that is emitted, parents too. Each band of
    image quality with enough tracks gets a threshold of its own; the guarantee is for all of them together."""
    target, settings, warnings = target or Target(), settings or Settings(), [*table.notes]
    if table.labels is None and target.kind != "abstain-rate":
        got = f"expected a label column for {target.kind}, got none. Without labels choose --abstain-rate"
        raise InputError(f"{named(table.path)}: {got}")
    _check_rounding(table, target, warnings)
    if table.bands is not None and (settings.tree or per_class or not (table.bands == "").any()):
        raise InputError("tune: scores with a column band take no [tree] or --per-class, and some rows of sound images")
    if settings.tree and (target.kind != "max-risk" or target.method != "fixed-sequence" or per_class):
        raise InputError("tune: a policy with a [tree] takes --max-risk with fixed-sequence, without --per-class")
    settings, rejected = _unlike(table, settings, unlike, unknown)
    if production is not None and production.names != table.names:
        raise InputError(f"production: expected the classes {table.names}, got {production.names}")
    fitting, choosing = _split(table, warnings) if fit else (None, table)
    count = 0 if fitting is None else int(np.count_nonzero(np.bincount(fitting.tracks)))
    if fitting is not None:
        settings = _fit(fitting, settings, warnings)
    del fitting  # of a million rows it takes 10 MB
    chosen_on = _gathered(choosing, settings)
    deployed = _gathered(production, settings) if production is not None else None
    if settings.tree:
        settings = _with_parents(settings, target, chosen_on, table.names)
    else:
        settings = _with_thresholds(settings, target, chosen_on, deployed, table.names, per_class, warnings)
    found = before = after = None
    if chosen_on.labels is not None:
        found = risk.curve(chosen_on.confidence, chosen_on.wrong)
        plain = gather(choosing, dataclasses.replace(settings, temperature=1.0))
        before = reliability(plain.confidence, ~plain.wrong)
        after = reliability(chosen_on.confidence, ~chosen_on.wrong)
        warnings += _data_warnings(chosen_on, table.names)
    drift = shift(chosen_on.confidence, deployed.confidence) if deployed is not None else None
    if target.kind == "abstain-rate":
        warnings.append("the abstention rate is fixed, the risk is not certified: audit some of the emitted verdicts")
    if drift is not None and drift.alarm:
        words = f"production scores differ from the tuning set (KS {drift.ks:.2f}, PSI {drift.psi:.2f})"
        words += ": the chosen threshold does not hold there" * (target.kind != "abstain-rate")
        if deployed is not None and chosen_on.labels is not None:
            # Average thresholded confidence (Garg et al., arXiv 2201.04234).
            limit = np.quantile(chosen_on.confidence, chosen_on.wrong.mean())
            words += f"; estimated accuracy there: {(deployed.confidence >= limit).mean():.0%}"
        warnings.append(words)
    return Report(table, target, settings, chosen_on, count, found, before, after, deployed, drift, rejected, warnings)


def _unlike(table: ScoreTable, settings: Settings, share: float | None,
            unknown: ScoreTable | None) -> tuple[Settings, tuple[tuple[float, float, float], ...]]:  # fmt: skip
    """The settings with the limit that rejects at most `share` of known tracks (conformal), and both axes."""
    known = np.sort(table.typicality_of_tracks(settings.memory_s))
    if not len(known):
        if share is None and unknown is None:
            return settings, ()
        raise InputError(f"{named(table.path)}: expected a column typicality to choose the limit on, got none")
    others = unknown.typicality_of_tracks(settings.memory_s) if unknown is not None else np.zeros(0)

    def limit(share: float) -> float:  # another track is below the k-th of n with probability k / (n + 1)
        rank = min(int(share * (len(known) + 1) + 1e-9), len(known))
        return float(known[rank - 1]) if rank else 0.0

    settings = settings if share is None else dataclasses.replace(settings, unlike=limit(share))
    limits = sorted({settings.unlike, *map(limit, (0.02, 0.05, 0.1, 0.2))} - {0.0})
    away = [float((others < one).mean()) if len(others) else math.nan for one in limits]
    return settings, tuple((one, float((known < one).mean()), share) for one, share in zip(limits, away, strict=True))


def coarser(verdicts: TrackVerdicts, settings: Settings, names: tuple[str, ...]) -> tuple[TrackVerdicts, Array]:
    """The parents of the verdicts that do not pass, and (M,) which of them are emitted in their place."""
    found = verdicts.parents(members(names, settings), ~passes(verdicts, settings, names))
    return found, found.confidence >= settings.parent_threshold


def _with_parents(settings: Settings, target: Target, tuning: TrackVerdicts, names: tuple[str, ...]) -> Settings:
    parents = tuning.parents(members(names, settings), np.ones(len(tuning.confidence), bool))
    leaf, parent = (tuning.confidence, tuning.wrong), (parents.confidence, parents.wrong)
    found = risk.two_levels(leaf, parent, target.value, target.delta)
    if found is None:
        raise InputError(f"{_reachable(risk.curve(tuning.confidence, tuning.wrong), target)} (classes alone)")
    return dataclasses.replace(settings, threshold=found, parent_threshold=found, per_class={})


def _check_rounding(table: ScoreTable, target: Target, warnings: list[str]) -> None:
    """A guarantee needs the numbers that the policy will see: rounded ones tie, and theirs do not."""
    if not table.decimals:
        return
    rounded = f"the values are rounded to {table.decimals} decimal{'s' if table.decimals > 1 else ''}"
    if target.kind in ("max-risk", "max-joint-risk") and target.method != "naive":
        raise InputError(f"{named(table.path)}: {rounded}, and the policy will see them unrounded: {target.kind} "
                         "cannot be guaranteed. Write six decimals; or take a target without a guarantee (--method "
                         "naive); or, where the model itself gives such values, add --values "
                         "probabilities")  # fmt: skip
    warnings.append(f"{rounded}: the policy will see others, write six decimals")


def passes(verdicts: TrackVerdicts, settings: Settings, names: tuple[str, ...]) -> Array:
    """(K,) which verdicts reach the thresholds of their class and band."""
    limits = np.maximum(class_thresholds(names, settings)[verdicts.predicted], band_limits(verdicts.bands, settings))
    return np.asarray(verdicts.confidence >= limits)


def band_limits(bands: Array | None, settings: Settings) -> Array:
    """(K,) thresholds of bands of image quality; 0 of sound images."""
    return np.array([settings.per_band.get(one, NEVER) if one else 0.0 for one in ([""] if bands is None else bands)])


def _split(table: ScoreTable, warnings: list[str]) -> tuple[ScoreTable | None, ScoreTable]:
    tracks = np.flatnonzero(np.bincount(table.tracks))
    count = round(HOLDOUT * len(tracks))
    if table.labels is None or count == 0:
        return None, table
    if count < MIN_TRACKS_TO_FIT:
        warnings.append(f"temperature not fitted: {count} held-out tracks are too few (expected {MIN_TRACKS_TO_FIT})")
        return None, table
    mixed = np.random.default_rng(0).permutation(tracks)
    return table.of_tracks(mixed[:count]), table.of_tracks(mixed[count:])


def _fit(table: ScoreTable, settings: Settings, warnings: list[str]) -> Settings:
    assert table.labels is not None
    if settings.aggregate == "vote":
        warnings.append("temperature not fitted: votes have none")
        return settings
    if (table.values.argmax(1) == table.labels).all():
        warnings.append("temperature not fitted: the held-out tracks have no error")
        return settings
    settings = dataclasses.replace(settings, temperature=fit_temperature(table.values, table.labels))
    if np.bincount(table.tracks).max() < 2 or settings.aggregate != "mean-log-prob":
        return settings

    def loss(rho: float) -> float:  # negative log-likelihood of the tracks' probabilities
        made = gather(table, dataclasses.replace(settings, correlation=rho))
        return np.inf if made.labels is None or not len(made.labels) else nll(made.probabilities, made.labels)

    return dataclasses.replace(settings, correlation=float(min(np.linspace(0, 1, 41).round(3), key=loss)))


def _gathered(table: ScoreTable, settings: Settings) -> TrackVerdicts:
    made = gather(table, settings)
    if not len(made.confidence):
        raise InputError(f"{named(table.path)}: the other rules (observations, seconds, agreement, margin) abstain on "
                         f"all {made.undecided} tracks: loosen them")  # fmt: skip
    return made


def _with_thresholds(
    settings: Settings, target: Target, tuning: TrackVerdicts, deployed: TrackVerdicts | None,
    names: tuple[str, ...], per_class: bool, warnings: list[str],
) -> Settings:  # fmt: skip
    source = deployed if target.kind == "abstain-rate" and deployed is not None else tuning
    groups = _groups(source, names, warnings, per_class)
    found: dict[str, float] = {}
    for name, rows in groups.items():
        least = found.get("", 0.0) if name in BANDS else 0.0
        if target.kind == "max-risk":  # of what the policy lets pass before
            rows = rows & (source.confidence >= least)
        part = 1 / len(groups) if source.bands is None else float(groups[name].mean())
        share = dataclasses.replace(target, confidence=1 - target.delta * part)
        made = _threshold(source, rows, share) if rows.any() else "no verdict reaches the threshold of sound images"
        if isinstance(made, str) and len(groups) == 1:
            raise InputError(made)
        if isinstance(made, str):
            warnings.append(f"{name or 'the other classes'}: never emitted; {made}")
        found[name] = NEVER if isinstance(made, str) else max(made, least)
    if all(value == NEVER for value in found.values()):
        raise InputError("no class reaches the target: " + "; ".join(warnings))
    pooled = found.pop("", NEVER)
    classes, bands = (found, {}) if source.bands is None else ({}, found)
    return dataclasses.replace(settings, threshold=pooled, per_class=classes, per_band=bands)


def _groups(source: TrackVerdicts, names: tuple[str, ...], warnings: list[str], per_class: bool) -> dict[str, Array]:
    """Rows of each class (of each band) with enough verdicts, and under "" of the other classes (of sound images)."""
    if source.bands is not None:
        few = [band for band in BANDS if 0 < np.count_nonzero(source.bands == band) < MIN_TRACKS_OF_CLASS]
        if few:
            warnings.append(f"never emitted, too few verdicts (< {MIN_TRACKS_OF_CLASS}): {', '.join(few)}")
        return {band: source.bands == band for band in ("", *BANDS) if band not in few and band in source.bands}
    if not per_class:
        return {"": np.ones(len(source.predicted), bool)}
    counts = np.bincount(source.predicted, minlength=len(names))
    groups = {name: source.predicted == c for c, name in enumerate(names) if counts[c] >= MIN_TRACKS_OF_CLASS}
    rest = counts[source.predicted] < MIN_TRACKS_OF_CLASS
    if rest.any():
        few = [name for c, name in enumerate(names) if counts[c] < MIN_TRACKS_OF_CLASS]
        warnings.append(f"one threshold together, too few verdicts (< {MIN_TRACKS_OF_CLASS}): {', '.join(few)}")
        groups[""] = rest
    return groups


def _threshold(source: TrackVerdicts, rows: Array, target: Target) -> float | str:
    """The threshold, or what is reachable where none reaches the target."""
    if target.kind == "abstain-rate":
        return risk.abstain_threshold(source.confidence[rows], target.value)
    if target.kind == "cost-ratio":
        return risk.chow(target.value)
    found = risk.curve(source.confidence[rows], source.wrong[rows])
    if found.errors == found.n:
        return f"all {found.n} verdicts are wrong: no threshold helps; are these the labels of this model?"
    if target.kind == "knee":
        return 0.0 if not found.errors else risk.knee(found)
    plain = {"max-residual-errors": risk.residual_errors, "max-joint-risk": risk.conformal_risk, "naive": risk.naive}
    if (kind := target.method if target.kind == "max-risk" else target.kind) in plain:
        made = plain[kind](found, target.value)
    else:
        made = risk.fixed_sequence(found, target.value, target.delta)
    return _reachable(found, target) if made is None else made


def _reachable(found: risk.RiskCoverage, target: Target) -> str:
    if target.kind == "max-residual-errors":
        return (f"max-residual-errors {target.value:g} cannot be reached: the most confident verdicts have errors. "
                f"Reachable: {found.residual_errors[0]:.4f} at coverage {found.coverage[0]:.1%}")  # fmt: skip
    if target.kind == "max-joint-risk":
        return f"max-joint-risk {target.value:g} cannot be reached with {found.n} tracks"
    if target.method == "naive":
        return f"max-risk {target.value:g} cannot be reached: the lowest measured is {found.risk.min():.4f}"
    words = f"max-risk {target.value:g} cannot be certified with probability {target.confidence:.4g}"
    base = risk.min_error_free(target.value, target.delta)
    if found.n < base:
        words += f": even without errors it takes {base} tracks, got {found.n}"
    best = risk.reachable_risk(found, target.delta)
    if best is None:
        return words + ". No risk can be certified here: add tracks"
    emitted, _ = found.at(best[1])
    return words + f". Reachable: {best[0]:.4f} at coverage {emitted / found.n:.1%}"


def _data_warnings(verdicts: TrackVerdicts, names: tuple[str, ...]) -> list[str]:
    assert verdicts.labels is not None
    words = []
    if not verdicts.wrong.any():
        bound = risk.upper_bound(0, count := len(verdicts.wrong), 0.05)
        words.append(f"no errors among {count} tracks: nothing to choose between; certified (95 %) is only a risk "
                     f"below {bound:.2%}")  # fmt: skip
    if len(np.unique(verdicts.labels)) == 1:
        words.append(f"all tracks have one label ({names[verdicts.labels[0]]}): other classes are untested")
    if verdicts.undecided:
        words.append(f"{verdicts.undecided} tracks abstain by the other rules and are not counted")
    return words

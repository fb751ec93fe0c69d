"""Policy files (calibration/confidence/*.toml): read with every error named, written with provenance.
docs/abstain.md describes the file."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from edgevid.abstain.policy import Policy, Settings, members
from edgevid.errors import FieldError, FileFormatError
from edgevid.files import Positive, Row, Share, read_toml, sha256_of, toml_text, write_atomic
from edgevid.files.schema import REQUIRED, Checked, Sha256, checked, pick, vars_of
from edgevid.speed.abstain import SpeedPolicy
from edgevid.types import KMH

FORMAT = "edgevid-policy 1"
_DECIDE = (
    "threshold", "parent_threshold", "unlike", "margin", "min_seconds", "min_agreement", "stale_s", "min_side_px",
)  # fmt: skip
_EVIDENCE = ("temperature", "correlation", "memory_s", "odds", "step", "take", "drop", "ema_s")


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
    abstain_rate: Share = math.nan
    """Share of its tracks that the policy abstained on."""
    tracks: Annotated[int, Ge(0)] = 0
    """How many tracks it has."""
    certified_risk: Share = math.nan
    """The share of wrong verdicts that was guaranteed; it no longer is once the monitor reports drift."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What a policy file holds."""

    names: tuple[str, ...]
    """The recognizer's classes; none where the file only limits speeds."""
    settings: Settings
    task: str = ""
    model_sha256: str = ""
    """Of the recognizer's model file; empty: bound to no model."""
    speed: SpeedPolicy | None = None
    tuned: Tuned = field(default_factory=Tuned)
    made: Mapping[str, str | float | int] = field(default_factory=dict)
    """Provenance: program, date, scores, target, what is certified."""
    path: Path = Path()
    sha256: str = ""
    """Of the file that it was read from."""

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


Decide: Any = pick(Settings, "Decide", ("per_class", "min_observations", *_DECIDE), threshold=REQUIRED)
Evidence: Any = pick(Settings, "Evidence", ("aggregate", *_EVIDENCE))


def _names(names: tuple[str, ...], _: Path) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError
    return names


@dataclass(frozen=True)
class SpeedTable:
    """Limits of the standard error above which a speed is UNCERTAIN."""

    max_sigma_kmh: Positive = SpeedPolicy().max_sigma_mps * KMH
    """A standard error up to this is accepted at any speed, km/h."""
    max_share: Share = SpeedPolicy().max_share
    """And up to this share of the speed."""


@dataclass(frozen=True)
class PolicyTable:
    """An abstain policy: [decide] for the verdicts of a recognizer, [speed] for speeds, or both."""

    format: Literal["edgevid-policy 1"]
    """Of this kind of file."""
    names: Annotated[tuple[str, ...], Checked("at least one class name, each once", _names)] = ()
    """The recognizer's classes."""
    task: str = ""
    """The recognizer's task: "action"."""
    model_sha256: Sha256 = ""
    """Of the recognizer's model file; left out: bound to no model."""
    decide: Decide | None = None
    """When a verdict is emitted."""
    tree: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parents, each with two or more classes: vehicle = ["car", "truck"]."""
    evidence: Evidence = Evidence()
    """How the observations of a track become one."""
    speed: SpeedTable | None = None
    """Limits of speeds."""
    tuned: Tuned = Tuned()
    """The tuning set in short, to detect drift from it."""
    made: Mapping[str, Annotated[str | int | float, _MADE]] = field(default_factory=dict)
    """Provenance."""

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
    """The policy file at `path`; FileFormatError names file, key, expected and got. It also rejects a file that
    was tuned for other class `names` or for another `model_sha256` than those of the recognizer in use (None:
    not compared)."""
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
    decide = {"threshold": settings.threshold, "min_observations": settings.min_observations}
    evidence = {key: getattr(settings, key) for key in ("aggregate", "temperature", "correlation")}
    limits = {"max_sigma_kmh": speed.max_sigma_mps * KMH, "max_share": speed.max_share} if speed else None
    tables: dict[str, Row | None] = {
        "": top | {"model_sha256": policy.model_sha256 or None},
        "decide": decide | _changed(settings, _DECIDE) if policy.names else None,
        "decide.per_class": settings.per_class,
        "tree": settings.tree,
        "evidence": evidence | _changed(settings, _EVIDENCE) if policy.names else None,
        "speed": limits,
        "tuned": {k: v for k, v in vars_of(tuned).items() if v == v} if tuned.quantiles else None,
        "made": policy.made,
    }
    write_atomic(Path(path), toml_text({title: [row] for title, row in tables.items() if row}))


def _changed(settings: Settings, keys: Iterable[str]) -> dict[str, float]:
    pairs = ((key, getattr(settings, key)) for key in keys)
    return {key: value for key, value in pairs if value != getattr(Settings(), key)}

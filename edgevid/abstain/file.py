"""Policy files (calibration/confidence/*.toml): read with every error named, written with provenance.

docs/abstain.md describes the file.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from edgevid.abstain.policy import AGGREGATES, LIMITS, NEVER, Policy, Settings
from edgevid.errors import FileFormatError, InputError
from edgevid.files.atomic import write_atomic
from edgevid.files.toml import Section, read_toml, toml_table
from edgevid.speed.abstain import SpeedPolicy
from edgevid.types import KMH

FORMAT = "edgevid-policy 1"
_DECIDE = ("threshold", "margin", "min_seconds", "min_agreement", "stale_s", "min_side_px")
_EVIDENCE = ("temperature", "correlation", "memory_s", "odds", "step", "take", "drop", "ema_s")


@dataclass(frozen=True, slots=True)
class Tuned:
    """The tuning set in short, to detect drift from it."""

    quantiles: tuple[float, ...] = ()
    """Equally spaced quantiles 0 to 1 of the tracks' confidences."""
    abstain_rate: float = math.nan
    """Share of its tracks that the policy abstained on."""
    tracks: int = 0


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What a policy file holds."""

    names: tuple[str, ...]
    settings: Settings
    task: str = ""
    model_sha256: str = ""
    """Of the recognizer's model file; empty: bound to no model."""
    speed: SpeedPolicy | None = None
    tuned: Tuned = field(default_factory=Tuned)
    made: Mapping[str, str | float | int] = field(default_factory=dict)
    """Provenance: program, date, scores, target, what is certified."""
    path: Path = Path()

    def policy(self) -> Policy:
        """A new policy with these names and settings."""
        return Policy(self.names, self.settings, task=self.task)

    def must_fit(self, *, names: Iterable[str] | None, model_sha256: str | None) -> None:
        """FileFormatError where the policy was tuned for other classes or another model."""
        if names is not None and tuple(names) != self.names:
            raise FileFormatError(
                self.path, "names", expected=f"the recognizer's classes {list(names)}", got=list(self.names)
            )
        if model_sha256 and self.model_sha256 and model_sha256 != self.model_sha256:
            expected = f"the hash {model_sha256} of the model in use (tune again with this model's scores)"
            raise FileFormatError(self.path, "model_sha256", expected=expected, got=self.model_sha256)


def read_policy(
    path: str | Path, *, names: Iterable[str] | None = None, model_sha256: str | None = None
) -> PolicyFile:
    """The policy file at `path`; FileFormatError names file, key, expected and got.

    It also rejects a file that was tuned for other class `names` or for another `model_sha256` than those
    of the recognizer in use (None: not compared).
    """
    top = read_toml(path)
    path = top.path
    top.text("format", choices=(FORMAT,))
    read_names = top.texts("names")
    if not read_names or len(set(read_names)) < len(read_names):
        top.fail("names", "at least one class name, each once", list(read_names))
    sha256 = top.text("model_sha256", "")
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        top.fail("model_sha256", "64 lower-case hexadecimal digits", sha256)
    read = PolicyFile(
        names=read_names,
        settings=_settings(top, read_names),
        task=top.text("task", ""),
        model_sha256=sha256,
        speed=_speed(top.table("speed")) if "speed" in top else None,
        tuned=_tuned(top.table("tuned", optional=True)),
        made=_made(top.table("made", optional=True)),
        path=path,
    )
    top.done()
    read.must_fit(names=names, model_sha256=model_sha256)
    return read


def write_policy(path: str | Path, policy: PolicyFile) -> None:
    """Writes `policy`; reading it back gives the same."""
    settings, tuned, speed = policy.settings, policy.tuned, policy.speed
    top = {"format": FORMAT, "task": policy.task, "names": policy.names}
    decide = {"threshold": settings.threshold, "min_observations": settings.min_observations}
    evidence = {key: getattr(settings, key) for key in ("aggregate", "temperature", "correlation")}
    lines = toml_table("", top | {"model_sha256": policy.model_sha256 or None})
    lines += toml_table("decide", decide | _changed(settings, _DECIDE))
    lines += toml_table("decide.per_class", settings.per_class)
    lines += toml_table("evidence", evidence | _changed(settings, _EVIDENCE))
    if speed is not None:
        lines += toml_table(
            "speed", {"max_sigma_kmh": speed.max_sigma_mps * KMH, "max_share": speed.max_share}
        )
    if tuned.quantiles:
        lines += toml_table("tuned", dataclasses.asdict(tuned))
    lines += toml_table("made", policy.made)
    write_atomic(Path(path), "\n".join(lines) + "\n")


def _changed(settings: Settings, keys: Iterable[str]) -> dict[str, float]:
    pairs = ((key, getattr(settings, key)) for key in keys)
    return {key: value for key, value in pairs if value != getattr(Settings(), key)}


def _settings(top: Section, names: tuple[str, ...]) -> Settings:
    decide, evidence = top.table("decide"), top.table("evidence", optional=True)
    per_class = decide.table("per_class", optional=True)
    given: dict[str, float] = {"threshold": decide.number("threshold", low=0, high=NEVER)}
    for section, keys in ((decide, _DECIDE[1:]), (evidence, _EVIDENCE)):
        for key in keys:
            low, high = LIMITS[key]
            given[key] = section.number(key, getattr(Settings(), key), low=low, high=high)
    aggregate = evidence.text("aggregate", "mean-log-prob", choices=AGGREGATES)
    count = decide.integer("min_observations", 1, low=1)
    thresholds = {name: per_class.number(name, low=0, high=NEVER) for name in per_class.keys()}  # noqa: SIM118
    for name in thresholds:
        if name not in names:
            per_class.fail(name, f"one of the classes {', '.join(names)}", thresholds[name])
    decide.done()
    evidence.done()
    try:
        return dataclasses.replace(
            Settings(), **given, aggregate=aggregate, min_observations=count, per_class=thresholds
        )
    except InputError as error:
        raise FileFormatError(top.path, "decide", expected="usable numbers", got=str(error)) from None


def _speed(section: Section) -> SpeedPolicy:
    kmh = section.number("max_sigma_kmh", 2.0, low=0)
    share = section.number("max_share", 0.05, low=0, high=1)
    section.done()
    return SpeedPolicy(kmh / KMH, share)


def _tuned(section: Section) -> Tuned:
    quantiles = section.numbers("quantiles", ())
    rate = section.number("abstain_rate", math.nan, low=0, high=1)
    tracks = section.integer("tracks", 0)
    rising = all(a <= b for a, b in pairwise(quantiles))
    if quantiles and (len(quantiles) < 3 or not rising or quantiles[0] < 0 or quantiles[-1] > 1):
        section.fail("quantiles", "at least 3 rising numbers from 0 to 1", list(quantiles))
    section.done()
    return Tuned(quantiles, rate, tracks)


def _made(section: Section) -> dict[str, str | float | int]:
    made: dict[str, str | float | int] = {}
    for key in section.keys():  # noqa: SIM118
        value = section.raw(key)
        if not isinstance(value, (str, int, float)):
            section.fail(key, "a text or a number", value)
        made[key] = value
    return made

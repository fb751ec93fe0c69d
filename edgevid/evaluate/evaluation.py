"""What every evaluator gives: figures with 95 % intervals by bootstrap over groups, tables, plots and notes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from edgevid.errors import InputError, did_you_mean
from edgevid.types import Array

SCHEMA = "edgevid.evaluation/1"
DRAWS = 1000
FEW = 10  # Fewer groups than this give an interval that a note warns of
SHOWN = 60  # More groups than this are not listed, but the worst of them
WORST = 20


class Table(NamedTuple):
    """Rows of plain values; a column whose name ends in " %" holds shares of 1."""

    heads: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    detail: bool = False
    """Whether the terminal shows it only on request."""


class Plot(NamedTuple):
    """Lines through (x, y) by name, or with `grid` a matrix of shares whose rows and columns have names."""

    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float] | Array, Sequence[float] | Array]]
    grid: Array | None = None
    """(R, C) shares of 1."""
    names: Sequence[str] = ()


class Figure(NamedTuple):
    """A value and its 95 % interval, NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality of results on labeled data."""

    task: str
    groups: Sequence[str]
    """What is resampled: rows of one group depend on each other."""
    group: str
    """What a group is: "sequence", "clip", "track"."""
    measure: Callable[[Array], Mapping[str, float]]
    """The metrics where each group (G,) counts so many times; NaN where undefined."""
    units: Mapping[str, str] = field(default_factory=dict)
    """By metric, where it is no share of 1: "km/h", "s", or "" for a count."""
    exact: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Exact 95 % intervals by metric, instead of those of the bootstrap."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    notes: Sequence[str] = ()
    draws: int = DRAWS

    def figures(self) -> dict[str, Figure]:
        """Each metric with its interval."""
        count = len(self.groups)
        values = self.measure(np.ones(count, np.int64))
        found = {name: Figure(float(value)) for name, value in values.items()}
        if count > 1:
            random, names = np.random.default_rng(0), list(values)
            draws = np.full((self.draws, len(names)), math.nan)
            for row in draws:
                drawn = self.measure(random.multinomial(count, np.full(count, 1 / count)))
                row[:] = [drawn[name] for name in names]
            for name, column in zip(names, draws.T, strict=True):
                found[name] = self._figure(name, float(values[name]), column, count)
        return {name: Figure(one.value, *self.exact[name]) if name in self.exact else one
                for name, one in found.items()}  # fmt: skip

    def _figure(self, name: str, value: float, draws: Array, count: int) -> Figure:
        draws = draws[np.isfinite(draws)]
        if not len(draws) or value != value:
            return Figure(value)
        low, high = np.quantile(draws, [tail := _tail(count), 1 - tail])
        if low == high and name not in self.units and value in (0.0, 1.0):  # all groups alike: the rule of three
            bound = 0.025 ** (1 / count)
            low, high = (bound, 1.0) if value else (0.0, 1 - bound)
        return Figure(value, float(low), float(high))

    def by_group(self) -> Table | None:
        """The metrics of each group alone, or of the worst ones by the first metric."""
        count = len(self.groups)
        if count < 2:
            return None
        each = np.eye(count, dtype=np.int64) if count <= 4000 else np.zeros((0, count), np.int64)
        rows = [(name, *self.measure(row).values()) for name, row in zip(self.groups, each, strict=False)]
        if count > SHOWN:
            rows = sorted(rows, key=lambda row: math.inf if row[1] != row[1] else row[1])[:WORST]
        shares = (name if name in self.units else f"{name} %" for name in self.measure(np.ones(count, np.int64)))
        return Table((self.group, *shares), rows, detail=True) if rows else None

    def all_notes(self) -> list[str]:
        """The notes, and what limits the intervals."""
        count, words = len(self.groups), []
        if count < 2:
            words = [f"one {self.group}: an interval takes at least two"]
        elif count < FEW:
            words = [f"{count} {plural(self.group)} only: the intervals are rough"]
        return [*self.notes, *words]

    def all_tables(self) -> dict[str, Table]:
        """The tables, and that of the groups."""
        more = self.by_group()
        return {**self.tables, **({f"By {self.group}": more} if more else {})}

    def as_dict(self, figures: Mapping[str, Figure]) -> dict[str, Any]:
        """Plain values for JSON; what is undefined is null."""
        metrics = {name: one._asdict() | {"unit": self.units.get(name, "share")} for name, one in figures.items()}
        tables = {title: [dict(zip((h.removesuffix(" %") for h in one.heads), row, strict=True)) for row in one.rows]
                  for title, one in self.all_tables().items()}  # fmt: skip
        return {"schema": SCHEMA, "task": self.task, "groups": len(self.groups), "group": self.group,
                "metrics": plain(metrics), "tables": plain(tables), "notes": self.all_notes()}  # fmt: skip


def _tail(count: int) -> float:
    """The quantile that a bootstrap over so few groups takes for 2.5 %.

    The expanded percentile interval of Hesterberg (2015, The American Statistician 69): percentiles alone are
    too narrow by the factor t / z * sqrt(n / (n - 1)). Student's t by its expansion in 1 / degrees of freedom.
    """
    z, v = 1.959964, count - 1
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    return math.erfc(t * math.sqrt(count / v) / math.sqrt(2)) / 2


def compare(a: Evaluation, b: Evaluation) -> Evaluation:
    """B less A on the same groups, resampled together (paired bootstrap); InputError for other groups."""
    if a.task != b.task or list(a.groups) != list(b.groups):
        raise InputError(
            f"compare: expected two results for the same {plural(a.group)}, got {len(a.groups)} and "
            f"{len(b.groups)}, {len(set(a.groups) & set(b.groups))} of them in both"
        )
    units = {name: "points" if a.units.get(name) is None else a.units[name] for name in a.measure(_ones(a))}

    def difference(counts: Array) -> dict[str, float]:
        before, after = a.measure(counts), b.measure(counts)
        return {name: after[name] - before[name] for name in before}

    found = Evaluation(f"compare {a.task}", a.groups, a.group, difference, units, draws=min(a.draws, b.draws))
    first, second, rows = a.measure(_ones(a)), b.measure(_ones(b)), []
    for name, one in found.figures().items():
        known = one.low == one.low
        real = known and (one.low > 0 or one.high < 0)
        words = "real" if real else "none" if one.value == one.low == one.high == 0 else "cannot tell"
        numbers = (shown(v, a.units.get(name)) for v in (first[name], second[name]))
        rows.append((name, *numbers, shown(one.value, units[name]), between(one, units[name]), words))
    heads = ("metric", "A", "B", "B - A", "95 % interval", "difference")
    return Evaluation(found.task, a.groups, a.group, difference, units, tables={"Difference": Table(heads, rows)},
                      notes=[*dict.fromkeys([*a.notes, *b.notes])], draws=found.draws)  # fmt: skip


def _ones(one: Evaluation) -> Array:
    return np.ones(len(one.groups), np.int64)


def missed(
    evaluation: Evaluation, figures: Mapping[str, Figure], least: Iterable[str], most: Iterable[str]
) -> list[str]:
    """The limits METRIC=VALUE that the figures do not keep, as sentences; InputError for another metric."""
    found, known = [], {name.lower().replace(" ", "-"): name for name in figures}
    for option, sign, texts in (("--min", 1, least), ("--max", -1, most)):
        for text in texts:
            key, _, number = text.partition("=")
            if (name := known.get(key.strip().lower().replace(" ", "-"), "")) == "":
                raise InputError(f"{option}: expected one of {', '.join(known)}, got {key!r}{did_you_mean(key, known)}")
            try:
                limit = float(number.strip().removesuffix("%")) / (100 if number.strip().endswith("%") else 1)
            except ValueError:
                raise InputError(f"{option}: expected {key}=NUMBER, got {text!r}") from None
            unit = evaluation.units.get(name)
            if unit is None and limit > 1:
                raise InputError(f"{option}: {key} is a share: expected at most 1, or {limit:g}%, got {text!r}")
            value = figures[name].value
            if not sign * value >= sign * limit:
                words = "below the floor" if sign > 0 else "above the ceiling"
                found.append(f"{name} is {shown(value, unit)}, {words} of {shown(limit, unit)}")
    return found


def shown(value: float, unit: str | None = None) -> str:
    """A value as text; without a unit it is a share, in percent.

    >>> shown(0.612), shown(3.0, ""), shown(-0.02, "points"), shown(1.5, "km/h")
    ('61.2 %', '3', '-2.0 points', '1.50 km/h')
    """
    if value != value:
        return "-"
    if unit is None or unit == "points":
        return f"{100 * value:.1f} %" if unit is None else f"{100 * value:+.1f} points"
    return f"{value:.2f} {unit}" if unit else f"{value:.4g}"


def between(one: Figure, unit: str | None = None) -> str:
    """An interval as text, "-" where there is none."""
    low, high = shown(one.low, unit), shown(one.high, unit)
    return "-" if one.low != one.low else f"{low.partition(' ')[0]} to {high}"


def cell(value: Any, head: str = "") -> str:
    """A value of a table as text."""
    if isinstance(value, (float, np.floating)):
        return "-" if value != value else f"{100 * value:.1f}" if head.endswith(" %") else f"{value:.6g}"
    return str(value)


def is_word(value: Any) -> bool:
    """Whether a value of a table is text, and not a number with a unit."""
    return isinstance(value, str) and not value.lstrip("+-")[:1].isdigit() and value != "-"


def plural(word: str) -> str:
    """A noun in plural.

    >>> plural("sequence"), plural("class")
    ('sequences', 'classes')
    """
    return word + ("es" if word.endswith("s") else "s")


def plain(value: Any) -> Any:
    """Values for JSON: arrays as lists, and null for what is not finite."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """The exact 95 % interval of a share, `count` of `total`.

    >>> [round(v, 4) for v in clopper_pearson(8, 10)]
    [0.4439, 0.9748]
    """
    from edgevid.evaluate.tune.risk import upper_bound

    if not total:
        return math.nan, math.nan
    return 1 - upper_bound(total - count, total, 0.025), upper_bound(count, total, 0.025)


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of the mean of a Poisson count (Garwood 1936).

    >>> [round(v, 3) for v in poisson_interval(3)]
    [0.619, 8.767]
    """
    k = np.arange(count + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.maximum(k[1:], 1)))])

    def mean_where(share: float, most: int) -> float:  # P(X <= most) = share
        low, high = 0.0, count + 20 + 6 * math.sqrt(count + 1)
        for _ in range(100):
            mean = (low + high) / 2
            below = np.exp(k[: most + 1] * math.log(mean or 1e-300) - mean - factorials[: most + 1]).sum()
            low, high = (mean, high) if below > share else (low, mean)
        return low

    return mean_where(0.975, count - 1) if count else 0.0, mean_where(0.025, count)

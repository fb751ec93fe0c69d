"""What every evaluator gives: figures with 95 % intervals by bootstrap over groups, tables, plots and notes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from edgevid.errors import InputError, check_choice
from edgevid.evaluate.tune.risk import student_t, upper_bound
from edgevid.types import Array

SCHEMA = "edgevid.evaluation/1"
DRAWS = 1000
FEW = 10  # Fewer groups than this give an interval that a note warns of
LISTED, WORST = 60, 20  # More groups than LISTED are not listed, but so many of the worst


class Table(NamedTuple):
    """Rows of plain values; a column whose name ends in " %" holds shares of 1."""

    heads: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    detail: bool = False  # Whether the terminal shows it only on request


class Plot(NamedTuple):
    """Lines through (x, y) by name, or a `grid` (R, R) of shares of 1 whose rows and columns have `names`."""

    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float] | Array, Sequence[float] | Array]]
    grid: Array | None = None
    names: Sequence[str] = ()


class Thumb(NamedTuple):
    """A small image of a page."""

    caption: str
    jpeg: bytes
    x: float = math.nan  # Its place on a map, shares from the left and the top; NaN: one after another
    y: float = math.nan


class Figure(NamedTuple):
    """A value and its 95 % interval, NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality of results on labeled data."""

    task: str
    groups: Sequence[str]  # What is resampled: rows of one group depend on each other
    group: str  # What a group is: "sequence", "clip", "track"
    measure: Callable[[Array], Mapping[str, float]]  # Metrics where groups (G,) count so many times; NaN: undefined
    units: Mapping[str, str] = field(default_factory=dict)  # By metric that is no share: "km/h", "s", "" of a count
    exact: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Exact 95 % intervals by metric, in the place of the bootstrap's."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    images: Mapping[str, Sequence[Thumb]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    draws: int = DRAWS

    @property
    def values(self) -> dict[str, float]:
        """The metrics of all groups."""
        return dict(self.measure(np.ones(len(self.groups), np.int64)))

    def figures(self) -> dict[str, Figure]:
        """Each metric with its interval."""
        values, count, random = self.values, len(self.groups), np.random.default_rng(0)
        draws = [list(self.measure(random.multinomial(count, np.full(count, 1 / count))).values())
                 for _ in range(self.draws if count > 1 else 0)]  # fmt: skip
        columns = np.array(draws, float).reshape(-1, len(values)).T
        bounds = {name: self.exact.get(name) or self._bounds(name, values[name], column)
                  for name, column in zip(values, columns, strict=True)}  # fmt: skip
        return {name: Figure(float(value), *bounds[name]) for name, value in values.items()}

    def _bounds(self, name: str, value: float, draws: Array) -> tuple[float, ...]:
        draws, count = draws[np.isfinite(draws)], len(self.groups)
        if not len(draws) or value != value:
            return ()
        low, high = np.quantile(draws, [tail := _tail(count), 1 - tail]).tolist()
        if low == high and name not in self.units and value in (0.0, 1.0):  # all groups alike: the rule of three
            return (0.025 ** (1 / count), 1.0) if value else (0.0, 1 - 0.025 ** (1 / count))
        return low, high

    def all_tables(self) -> dict[str, Table]:
        """The tables, and the metrics of each group alone, or of the worst ones by the first metric."""
        count = len(self.groups)
        each = np.eye(count if 1 < count <= 1000 else 0, count, dtype=np.int64)
        rows: list[tuple[Any, ...]] = [
            (name, *self.measure(row).values()) for name, row in zip(self.groups, each, strict=False)
        ]
        if count > LISTED:
            rows = sorted(rows, key=lambda row: math.inf if row[1] != row[1] else row[1])[:WORST]
        heads = (self.group, *(name if name in self.units else f"{name} %" for name in self.values))
        return {**self.tables, **({f"By {self.group}": Table(heads, rows, detail=True)} if rows else {})}

    def all_notes(self) -> list[str]:
        """The notes, and what limits the intervals."""
        count, name = len(self.groups), self.group
        words = f"{count} {name}s only: the intervals are rough" if count > 1 else f"one {name}: an interval takes two"
        return [*self.notes, *([words] if count < FEW and list(self.groups) != ["all"] else [])]

    def as_dict(self, figures: Mapping[str, Figure]) -> dict[str, Any]:
        """Plain values for JSON; what is undefined is null."""
        metrics = {name: one._asdict() | {"unit": self.units.get(name, "share")} for name, one in figures.items()}
        tables = {title: [dict(zip((h.removesuffix(" %") for h in one.heads), row, strict=True)) for row in one.rows]
                  for title, one in self.all_tables().items()}  # fmt: skip
        return {"schema": SCHEMA, "task": self.task, "groups": len(self.groups), "group": self.group,
                "metrics": plain(metrics), "tables": plain(tables), "notes": self.all_notes()}  # fmt: skip


def _tail(count: int) -> float:
    """The quantile that a bootstrap over so few groups takes for 2.5 %. The expanded percentile interval of Hesterberg
    (2015, The American Statistician 69): percentiles alone are too narrow by the factor t / z * sqrt(n / (n - 1))."""
    return math.erfc(student_t(count - 1) * math.sqrt(count / (count - 1)) / math.sqrt(2)) / 2


def compare(a: Evaluation, b: Evaluation) -> Evaluation:
    """B less A on the same groups, resampled together (paired bootstrap); InputError for other groups."""
    if a.task != b.task or list(a.groups) != list(b.groups):
        both = len(set(a.groups) & set(b.groups))
        raise InputError(f"compare: expected two results for the same {a.group}s, got {len(a.groups)} and "
                         f"{len(b.groups)}, {both} of them in both")  # fmt: skip
    first, second, rows = a.values, b.values, []
    units = {name: a.units.get(name, "points") for name in first}

    def difference(counts: Array) -> dict[str, float]:
        before, after = a.measure(counts), b.measure(counts)
        return {name: after[name] - before[name] for name in before}

    notes, draws = [*dict.fromkeys([*a.notes, *b.notes])], min(a.draws, b.draws)
    found = Evaluation(f"compare {a.task}", a.groups, a.group, difference, units, notes=notes, draws=draws)
    for name, one in found.figures().items():
        words = "real" if one.low > 0 or one.high < 0 else "none" if one.low == one.high == 0 else "cannot tell"
        numbers = (shown(v, a.units.get(name)) for v in (first[name], second[name]))
        rows.append((name, *numbers, shown(one.value, units[name]), between(one, units[name]), words))
    heads = ("metric", "A", "B", "B - A", "95 % interval", "difference")
    return replace(found, tables={"Difference": Table(heads, rows)})


def trained_notes(trained: Array | None, source: str, what: str = "tracks", where: str = "column trained") -> list[str]:
    """The notes on K clips or tracks, of which the model was trained on some (K,); None: it is not stated, and
    `where` it would be. InputError where none remains."""
    if trained is None:
        return [f"what the model was trained on is not stated ({where}): whether these {what} were is unknown"]
    words = f"{np.sum(trained)} of {len(trained)} {what} were trained on, by their content or scene: they are left out"
    if len(trained) and np.all(trained):
        raise InputError(f"{source}: {words}, and nothing remains; give others, of other scenes")
    return [words] if np.any(trained) else []


def missed(found: Evaluation, figures: Mapping[str, Figure], least: Iterable[str], most: Iterable[str]) -> list[str]:
    """The limits METRIC=VALUE that the figures do not keep, as sentences; InputError for another metric."""
    words, known = [], {name.lower().replace(" ", "-"): name for name in figures}
    limits = [*(("--min", 1, text) for text in least), *(("--max", -1, text) for text in most)]
    for option, sign, text in limits:
        key, _, number = (part.strip().lower() for part in text.partition("="))
        check_choice(key := key.replace(" ", "-"), known, option)
        try:
            limit = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
        except ValueError:
            raise InputError(f"{option}: expected {key}=NUMBER, got {text!r}") from None
        unit, value = found.units.get(known[key]), figures[known[key]].value
        if unit is None and limit > 1:
            raise InputError(f"{option}: {key} is a share: expected at most 1, or {limit:g}%, got {text!r}")
        if not sign * value >= sign * limit:
            where = "below the floor" if sign > 0 else "above the ceiling"
            words.append(f"{known[key]} is {shown(value, unit)}, {where} of {shown(limit, unit)}")
    return words


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
    return "-" if one.low != one.low else f"{shown(one.low, unit).partition(' ')[0]} to {shown(one.high, unit)}"


def cell(value: Any, head: str = "") -> str:
    """A value of a table as text."""
    if isinstance(value, (float, np.floating)):
        return "-" if value != value else f"{100 * value:.1f}" if head.endswith(" %") else f"{value:.6g}"
    return str(value)


def is_word(value: Any) -> bool:
    """Whether a value of a table is text, and not a number with a unit."""
    return isinstance(value, str) and not value.lstrip("+-")[:1].isdigit() and value != "-"


def plain(value: Any) -> Any:
    """Values for JSON: arrays as lists, and null for what is not finite."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """The exact 95 % interval of a share, `count` of `total`.

    >>> [round(v, 4) for v in clopper_pearson(8, 10)]
    [0.4439, 0.9748]
    """
    found = 1 - upper_bound(total - count, total, 0.025), upper_bound(count, total, 0.025)
    return found if total else (math.nan, math.nan)


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of the mean of a Poisson count (Garwood 1936): that of so many rare events among very
    many trials.

    >>> [round(v, 3) for v in poisson_interval(3)]
    [0.619, 8.767]
    """
    trials = 10**7 * (count + 1)
    low, high = clopper_pearson(count, trials)
    return low * trials, high * trials

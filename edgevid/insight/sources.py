"""Time series from a database of edgevid, Parquet, CSV or PostgreSQL, read in chunks and cleaned."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from edgevid.errors import LISTED, InputError, SourceError, require
from edgevid.output.tables import open_database, read_database
from edgevid.types import KMH, Array

CHUNK = 50_000
BLOCK = 1 << 24  # Bytes of CSV that are read at a time; a row must fit
MOST_COLUMNS = 20_000  # Of a row per series; a column of every batch takes time
LEAST = 8  # Values of the shortest series that has a shape
MOST_MPS, MOST_MPS2 = 250 / KMH, 12.0  # No road vehicle has more: what has was measured wrong
POINTS = 64  # A longer series is averaged to this many values; duration is a feature of its own
SHAPE = ("peak", "peak_at", "p05", "p25", "p50", "p75", "p95", "low", "std", "plateau", "peak_over_plateau",
         "rise", "fall", "width", "peak_width", "dip_width", "slope", "end_minus_start", "mean_change",
         "largest_rise", "largest_drop", "stops", "peaks", "dips")  # fmt: skip
"""Columns of `shape_features`. Times are shares of the series' length."""
PATH = ("travel", "straightness", "turn", "heading_x", "heading_y")
"""Columns of `path_features`: way and distance between its ends over the mean height of the box, their ratio,
radians turned, and the direction from the first point to the last one."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STEP = 3  # Values over which the largest rise and drop are taken: noise of single values is averaged out
_Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SeriesChunk:
    """N series: what they are, F features, T values of each to draw, and how many the cleaning rules left out."""

    ids: list[str]
    names: tuple[str, ...]
    features: Array  # (N, F) values of `names`
    values: Array  # (N, T) values in the unit of the source
    left_out: dict[str, int]  # Values by rule


def read_series(source: str | Path, *, id_column: str = "", time_column: str = "", value_column: str = "",
                table: str = "", least: float = -np.inf, most: float = np.inf) -> Iterator[SeriesChunk]:  # fmt: skip
    """Yields chunks of series.

    A database of edgevid with a table `objects`: speeds and paths of its tracks. Parquet and CSV: a row per series,
    with its values in columns, or in a list in `value_column`; or, with `id_column`, a row per value, the rows of a
    series together. `postgresql://...`: such rows of `table`, a name or query. `time_column` sorts the values of a
    series and spaces them evenly. Series of fewer than 8 values, with values outside `least` to `most`, or with a
    quarter of them not finite are left out. SourceError where the source cannot be read, InputError where it has no
    series."""
    if (text := str(source)).startswith(("postgresql://", "postgres://")):
        batches = _postgres(text, table)
    elif (path := Path(text)).suffix.lower() in (".parquet", ".csv"):
        batches = _batches(path)
    elif path.is_file():
        yield from _tracks(path)
        return
    else:
        raise SourceError(f"{text}: there is no such file; check the path")
    if id_column:
        if not value_column:
            raise InputError(f"{text}: with an id column, name the column of the values, too (--value)")
        yield from _long(batches, text, [*filter(None, (id_column, time_column, value_column))], (least, most))
    else:
        yield from _wide(batches, text, value_column, (least, most))


def _batches(path: Path) -> Iterator[Any]:
    """Record batches of a file."""
    arrow = require("pyarrow", extra="cluster", purpose="Parquet and CSV files")
    try:
        if path.suffix.lower() == ".csv":
            csv = require("pyarrow.csv", extra="cluster", purpose="CSV files")
            with path.open("rb") as file:
                _check_columns((), file.readline(BLOCK).split(b","), str(path))
            yield from csv.open_csv(path, read_options=csv.ReadOptions(block_size=BLOCK))
        else:
            parquet = require("pyarrow.parquet", extra="cluster", purpose="Parquet files").ParquetFile(path)
            _check_columns((), parquet.schema_arrow.names, str(path))
            yield from parquet.iter_batches(CHUNK)
    except (OSError, arrow.ArrowException) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from None


def _postgres(address: str, table: str) -> Iterator[Any]:
    """Record batches of CHUNK rows, through a cursor of the server."""
    arrow = require("pyarrow", extra="cluster", purpose="clusters")
    driver = require("pg8000.dbapi", extra="postgres", purpose="PostgreSQL")
    if not table:
        raise InputError("a PostgreSQL server: name the table, or give a query (--table)")
    parts = urlsplit(address)
    user, password = unquote(parts.username or "postgres"), unquote(parts.password or "")
    host, base = parts.hostname or "localhost", parts.path.lstrip("/") or user
    names = ".".join('"' + name.replace('"', '""') + '"' for name in table.split("."))
    query = table if " " in table.strip() else f"SELECT * FROM {names}"
    try:
        with closing(driver.connect(user, host, base, parts.port or 5432, password or None)) as server:
            cursor = server.cursor()
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(f"DECLARE series NO SCROLL CURSOR FOR {query}")
            while rows := cursor.execute(f"FETCH {CHUNK} FROM series") or cursor.fetchall():  # it returns None
                columns = [arrow.array(column) for column in zip(*rows, strict=True)]
                yield arrow.record_batch(columns, [column[0] for column in cursor.description])
    except (driver.Error, OSError) as error:
        said = error.args[0] if error.args else error
        why = said.get("M", said) if isinstance(said, dict) else said
        raise SourceError(f"{host}: PostgreSQL cannot be read: {why}; check address, password and table") from None


def _wide(batches: Iterable[Any], name: str, value: str, limits: _Limits) -> Iterator[SeriesChunk]:
    """A row is a series."""
    seen = 0
    for batch in batches:
        if value:
            _check_columns([value], batch.schema.names, name)
            try:
                rows: Any = [np.array(one if one is not None else (), float, ndmin=1)
                             for one in batch[value].to_pylist()]  # fmt: skip
            except (TypeError, ValueError) as error:
                raise InputError(f"{name}: expected lists of numbers in column {value!r}: {error}") from None
        else:
            numbers = [number for number, one in enumerate(batch.schema) if one.name.lower() != "id"
                       and re.search("int|float|double|decimal", str(one.type))]  # fmt: skip
            if len(numbers) < LEAST:
                what = f"{name}: expected a row per series with at least {LEAST} columns of numbers, got {len(numbers)}"
                raise InputError(f"{what}; for a row per value, name the columns with --id and --value")
            rows = np.stack([_floats(batch[one], name) for one in numbers], 1)
        named = [number for number, one in enumerate(batch.schema.names) if one.lower() == "id"]
        ids = batch[named[0]].to_pylist() if named else range(seen, seen + batch.num_rows)
        seen += batch.num_rows
        yield _chunk(list(map(str, ids)), rows, limits)


def _long(batches: Iterable[Any], name: str, columns: list[str], limits: _Limits) -> Iterator[SeriesChunk]:
    """A row is one value; the rows of a series stand together."""
    series, seen = dict[Any, Array](), set[Any]()
    for key, runs in groupby(_runs(batches, name, columns), key=lambda run: run[0]):
        if key in seen:
            raise InputError(f"{name}: the rows of series {key} do not stand together; sort them by {columns[0]}")
        seen.add(key)
        series[key] = _even(np.concatenate([rows for _, rows in runs]))
        if len(series) >= CHUNK:
            yield _chunk(list(map(str, series)), list(series.values()), limits)
            series = {}
    yield _chunk(list(map(str, series)), list(series.values()), limits)


def _runs(batches: Iterable[Any], name: str, columns: list[str]) -> Iterator[tuple[Any, Array]]:
    """Runs of rows of one series within a batch: its key and (T, 1 or 2) its time and values."""
    for batch in batches:
        _check_columns(columns, batch.schema.names, name)
        keys = np.array([str(one) for one in batch[columns[0]].to_pylist()], object)
        values = np.stack([_floats(batch[one], name) for one in columns[1:]], 1)
        edges = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])).tolist()
        yield from ((keys[a], values[a:b]) for a, b in pairwise([*edges, len(keys)]))


def _even(rows: Array) -> Array:
    """(T, 1) values, or (T, 2) times and values -> (T,) values evenly spaced in time."""
    if rows.shape[1] == 1:
        return np.asarray(rows[:, 0])
    times, values = rows[np.argsort(rows[:, 0], kind="stable")].T
    with np.errstate(invalid="ignore"):  # a time that is not finite leaves the series out
        return np.asarray(np.interp(np.linspace(times[0], times[-1], len(times)), times, values))


def _chunk(ids: list[str], rows: Sequence[Array] | Array, limits: _Limits) -> SeriesChunk:
    """Cleans series and computes their features."""
    if len({len(row) for row in rows}) == 1:
        rows = np.stack(list(rows))  # equal lengths need no resampling
    if isinstance(rows, np.ndarray) and np.isfinite(rows).all() and LEAST <= rows.shape[1] <= POINTS:
        values, keep, length = rows, np.ones(len(rows), bool), np.full(len(rows), float(rows.shape[1]))
    else:
        found, keep, length = list[Array](), np.ones(len(rows), bool), np.zeros(len(rows))
        for number, row in enumerate(rows):
            finite = np.isfinite(row)
            row = row[: len(row) - int(np.argmax(finite[::-1]))] if finite.any() else row[:0]
            known = np.isfinite(row)
            length[number] = len(row)
            keep[number] = len(row) >= LEAST and known.mean() >= 0.75
            if keep[number]:
                at = np.arange(len(row))
                found.append(resampled(np.interp(at, at[known], row[known])))
        values = np.array(found).reshape(-1, POINTS)
    inside = np.all((values >= limits[0]) & (values <= limits[1]), axis=1)
    short = int((length < LEAST).sum())
    left_out = +Counter({f"fewer than {LEAST} values": short,
                         "a quarter of the values or more is not finite": int((~keep).sum()) - short,
                         f"values outside {limits[0]:g} to {limits[1]:g}": int((~inside).sum())})  # fmt: skip
    ids, values = [ids[row] for row in np.flatnonzero(keep)[inside]], values[inside]
    shape = shape_features(values) if ids else np.empty((0, len(SHAPE)))
    features = np.column_stack([shape, length[keep][inside]]).astype(np.float32)
    return SeriesChunk(ids, (*SHAPE, "length"), features, values, left_out)


def _tracks(path: Path) -> Iterator[SeriesChunk]:
    """Speeds and paths of the tracks of a database."""
    query = """
        SELECT run, track, time_s, (x_min + x_max) / 2, y_max, y_max - y_min, speed_mps, class_name
        FROM objects WHERE track IS NOT NULL ORDER BY run, track, time_s"""
    left_out, series = Counter[str](), dict[str, tuple[Array, Array]]()
    with open_database(path) as base:
        for (run, track), rows in groupby(base.execute(query), key=lambda row: row[:2]):
            times, x, y, height, speed = np.array([row[2:7] for row in rows], float).T
            if isinstance(one := track_series(times, np.column_stack([x, y]), height, speed), str):
                left_out[one] += 1
            else:
                series[f"{run}/{track}"] = one
    if not series:
        why = "".join(f"; {count} left out: {reason}" for reason, count in left_out.items())
        raise InputError(f"{path}: expected tracks in the table objects (`records = true` of the sink), got none{why}")
    features, values = map(np.array, zip(*series.values(), strict=True))
    yield SeriesChunk([*series], TRACK_FEATURES, features, values, dict(left_out))


def clips_of(source: str) -> dict[str, Path]:
    """The recorded clip of each track of a database that has one, by the id of its series."""
    if "://" in source or (path := Path(source)).suffix.lower() in (".parquet", ".csv"):
        return {}
    sql = "SELECT run || '/' || track AS id, max(clip) AS clip FROM events WHERE clip <> '' GROUP BY run, track"
    return {row["id"]: path.parent / row["clip"] for row in read_database(path, sql)}


TRACK_FEATURES = (*SHAPE, *PATH, "duration_s")
"""The features of a track: of its speed in m/s, or in heights of its box per second without calibration."""


def track_series(times: Array, points: Array, heights: Array, speeds: Array) -> tuple[Array, Array] | str:
    """(T,) s, (T, 2) ground points, (T,) heights, (T,) m/s or NaN -> (F,) features and values, or why not."""
    if len(times) < LEAST:
        return f"fewer than {LEAST} frames"
    mean = max(float(heights.mean()), 1.0)
    even = np.linspace(times[0], times[-1], len(times))
    known = np.isfinite(speeds)
    path = np.column_stack([np.interp(even, times, column) for column in points.T])
    if known.mean() >= 0.5:
        if (speed := np.interp(even, times[known], speeds[known])).max() > MOST_MPS:
            return f"faster than {MOST_MPS * KMH:.0f} km/h"
        if np.abs(np.gradient(resampled(speed), (times[-1] - times[0]) / POINTS)).max() > MOST_MPS2:
            return f"acceleration above {MOST_MPS2:g} m/s²"
    else:
        step = np.gradient(resampled(path), (times[-1] - times[0]) / POINTS, axis=0)
        speed = np.linalg.norm(step, axis=1) / mean
    values, path = resampled(speed)[None], resampled(path)[None]
    parts = [shape_features(values)[0], path_features(path, np.array([mean]))[0], [times[-1] - times[0]]]
    return np.concatenate(parts).astype(np.float32), values[0]


def _check_columns(expected: Sequence[str], names: Sequence[Any], source: str) -> None:
    if len(names) > MOST_COLUMNS:
        raise InputError(f"{source}: expected at most {MOST_COLUMNS} columns, got {len(names)}; write a row per value, "
                         "and name the columns with --id and --value")  # fmt: skip
    for one in expected:
        if (count := names.count(one)) != 1:
            raise InputError(f"{source}: expected one column {one!r}, got {count} among {', '.join(names[:LISTED])}")


def _floats(column: Any, source: str) -> Array:
    """(N,) float32; NULL is NaN."""
    try:
        with np.errstate(over="ignore"):  # beyond float32 is not finite
            return np.asarray(column.cast("double").to_numpy(zero_copy_only=False), np.float32)
    except (ValueError, NotImplementedError) as error:  # Arrow's are these, too
        raise InputError(f"{source}: expected numbers: {error}") from None


def shape_features(values: Array) -> Array:
    """(N, T) finite values, T at least 8 -> (N, 24) float32, the columns of `SHAPE`. A shift in time changes
    only `peak_at` and, at the edges, quantiles. Every column is in the values' unit, a share or a count."""
    x = np.asarray(values, np.float32)
    n, t = x.shape
    row, columns = np.arange(n), np.arange(t, dtype=np.float32)
    p05, p25, p50, p75, p95 = np.quantile(x, QUANTILES, axis=1)
    low, peak, at = x.min(1), x.max(1), x.argmax(1)
    mean = x.mean(1)
    high = x > (0.25 * p75)[:, None]
    high[:, [0, -1]] = False
    plateau = np.where(high, x, 0).sum(1) / np.maximum(high.sum(1), 1)
    span = p95 - p05
    upper, lower = (x >= (p05 + share * span)[:, None] for share in (0.9, 0.1))
    rise = (upper.argmax(1) - lower.argmax(1)) / t
    fall = (upper[:, ::-1].argmax(1) - lower[:, ::-1].argmax(1)) / t
    centered = columns - columns.mean()
    slope = (x - mean[:, None]) @ centered / (centered @ centered) * t
    step = x[:, STEP:] - x[:, :-STEP]
    padded = np.pad(x, ((0, 0), (1, 1)), mode="edge")
    smooth = (padded[:, :-2] + x + padded[:, 2:]) / 3
    up, down = smooth > ((p50 + peak) / 2)[:, None], smooth < ((p50 + low) / 2)[:, None]
    found = {"peak": peak, "peak_at": at / t, "p05": p05, "p25": p25, "p50": p50, "p75": p75, "p95": p95, "low": low,
             "std": x.std(1), "plateau": plateau, "peak_over_plateau": peak / np.maximum(np.abs(plateau), 1e-6),
             "rise": rise, "fall": fall, "width": (x > ((low + peak) / 2)[:, None]).mean(1), "peak_width": up.mean(1),
             "dip_width": down.mean(1), "slope": slope, "end_minus_start": x[row, -1] - x[:, 0],
             "mean_change": np.abs(np.diff(x, axis=1)).mean(1), "largest_rise": step.max(1),
             "largest_drop": -step.min(1), "stops": _starts(x < (0.1 * p95)[:, None]), "peaks": _starts(up),
             "dips": _starts(down)}  # fmt: skip
    return np.stack([found[name] for name in SHAPE], 1).astype(np.float32)


def path_features(points: Array, heights: Array) -> Array:
    """(N, T, 2) ground points in pixels, (N,) mean heights of the boxes -> (N, 5), the columns of `PATH`."""
    few = points[:, np.linspace(0, points.shape[1] - 1, 9).round().astype(int)].astype(np.float32)
    steps = np.diff(few, axis=1) / np.maximum(heights, 1)[:, None, None]
    way, whole = np.linalg.norm(steps, axis=2), few[:, -1] - few[:, 0]
    between = np.linalg.norm(whole, axis=1) / np.maximum(heights, 1)
    turns = (np.diff(np.arctan2(steps[..., 1], steps[..., 0]), axis=1) + np.pi) % (2 * np.pi) - np.pi
    turns = np.where(np.minimum(way[:, 1:], way[:, :-1]) > 0.05, turns, 0)  # jitter of one that stands
    heading = whole / np.maximum(np.linalg.norm(whole, axis=1), 1e-6)[:, None]
    heading[between < 0.5] = 0
    travel = way.sum(1)
    straight = np.where(travel > 0.5, between / np.maximum(travel, 1e-6), 1)
    return np.column_stack([travel, straight, turns.sum(1), heading]).astype(np.float32)


def resampled(values: Array, points: int = POINTS) -> Array:
    """(T, ...) -> (points, ...): means of equal parts of a long series, interpolation in a short one."""
    if (length := len(values)) == points:
        return values
    if length < points:
        at, known = np.linspace(0, length - 1, points), np.arange(length)
        return np.apply_along_axis(lambda column: np.interp(at, known, column), 0, values)
    starts = np.linspace(0, length, points, endpoint=False).astype(int)
    counts = np.diff(np.append(starts, length)).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(np.add.reduceat(values, starts, axis=0) / counts)


def _starts(mask: Array) -> Array:
    """How many stretches of True each row has."""
    found: Array = mask[:, 0].astype(int) + (mask[:, 1:] & ~mask[:, :-1]).sum(1)
    return found

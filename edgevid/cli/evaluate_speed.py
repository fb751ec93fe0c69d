"""`edgevid evaluate speed`: measured speeds against true ones."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgevid.errors import InputError, SourceError
from edgevid.files.atomic import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from edgevid.evaluate.speed.score import Evaluation, Score

Truth = Annotated[Path, typer.Option(help="True speeds: CSV or JSON lines with id, time_s and mps or kmh.")]
Results = Annotated[
    Path,
    typer.Option(help="Record of `edgevid run --jsonl`, or CSV with id, time_s, mps, sigma_mps, reason."),
]
Pairs = Annotated[Path | None, typer.Option(help="CSV with truth,result where the ids differ.")]
Kind = Annotated[str, typer.Option(help="Only live, smoothed or track speed values.")]
PerTrack = Annotated[bool, typer.Option("--tracks", help="Also one row per track.")]
Json = Annotated[Path | None, typer.Option("--json", help="JSON file to write; - prints it instead.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="CSV file to write, one row per track and kind.")]


def register(group: typer.Typer) -> None:
    """Adds this module's subcommand."""
    group.command("speed")(speed)


def speed(
    truth: Truth,
    results: Results,
    pairs: Pairs = None,
    kind: Kind = "",
    tracks: PerTrack = False,
    json_out: Json = None,
    csv_out: Csv = None,
) -> None:
    """Errors, bias, interval coverage, abstention, variation and delay of measured speeds."""
    from edgevid.evaluate.speed.files import KINDS, check_ids, read_pairs, read_results, read_truth
    from edgevid.evaluate.speed.score import evaluate

    if kind and kind not in KINDS:
        raise InputError(f"--kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    known, rows = read_truth(truth), read_results(results)
    if not rows:
        raise InputError(f"{results}: it has no speeds; run with --calibration to measure them")
    if pairs is not None:
        named = read_pairs(pairs)
        known = {named[name]: track for name, track in known.items() if name in named}
    rows = [row for row in rows if not kind or row.kind == kind]
    check_ids(known, rows)
    found = evaluate(known, rows)
    text = json.dumps(found.as_json(), indent=1)
    if str(json_out) == "-":
        print(text)
    else:
        _print(found, tracks)
        if json_out is not None:
            _write(json_out, text + "\n")
    if csv_out is not None:
        _write_csv(found, csv_out)


def _print(found: Evaluation, tracks: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="Speed errors", title_justify="left")
    table.add_column("absolute error, km/h")
    for kind in found.overall:
        table.add_column(kind, justify="right")
    for name, cells in zip(MEASURES, zip(*map(_cells, found.overall.values()), strict=True), strict=True):
        table.add_row(name, *cells)
    console.print(table)
    if tracks:
        _print_tracks(found, console)
    for kind, score in found.overall.items():
        why = ", ".join(f"{name} {100 * share:.1f} %" for name, share in score.reasons.items())
        if why:
            console.print(f"{kind}: abstained because {why}")
        if score.without_truth:
            console.print(f"{kind}: {score.without_truth} values at times without a truth, not scored")
    if found.missed:
        console.print(f"{len(found.missed)} true objects have no result: {', '.join(found.missed[:8])}")
    if found.unmatched:
        console.print(f"{len(found.unmatched)} ids of the results have no truth: not scored")


def _print_tracks(found: Evaluation, console: Console) -> None:
    from rich.table import Table

    chosen = [MEASURES.index(name) for name in ("mean", "median", "p95", "bias", "abstained", "values")]
    table = Table(title="By track", title_justify="left")
    for column in ("track", "value", *(MEASURES[k] for k in chosen)):
        table.add_column(column, justify="left" if column in ("track", "value") else "right")
    for kind, scores in found.tracks.items():
        for name, score in sorted(scores.items()):
            cells = _cells(score)
            table.add_row(name, kind, *(cells[k] for k in chosen))
    console.print(table)


MEASURES = (
    "mean", "median", "p95", "bias", "truth within 68 % interval", "truth within 95 % interval",
    "abstained", "change from value to value", "first speed after", "values",
)  # fmt: skip


def _cells(score: Score) -> list[str]:
    """The measures as text, in the order of MEASURES."""

    def number(value: float, form: str) -> str:
        return "-" if value != value else form.format(value)

    errors = [number(v, "{:.2f}") for v in (score.mean, score.median, score.p95)]
    shares = [number(100 * v, "{:.1f} %") for v in (score.within_68, score.within_95, score.abstained)]
    return [*errors, number(score.bias, "{:+.2f}"), *shares, number(score.variation, "{:.2f}"),
            number(score.first_s, "{:.2f} s"), str(score.values)]  # fmt: skip


def _write_csv(found: Evaluation, path: Path) -> None:
    plain, text = found.as_json(), io.StringIO()
    rows = [{"kind": kind, "id": "all", **score} for kind, score in plain["overall"].items()]
    rows += [{"kind": kind, "id": name, **score} for kind, scores in plain["tracks"].items()
             for name, score in scores.items()]  # fmt: skip
    for row in rows:
        row["reasons"] = " ".join(f"{name}:{share:.4f}" for name, share in row["reasons"].items())
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:

    try:
        write_atomic(path, text)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror}; choose another path") from None

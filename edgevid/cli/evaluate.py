"""`edgevid evaluate`: quality on labeled data."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import results
from edgevid.cli.output_files import check_outputs
from edgevid.cli.tables import print_rows
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.evaluate.speed.score import Evaluation, Score

command = typer.Typer(no_args_is_help=True, help="Measure quality on labeled data.")

Data = Annotated[Path, Argument(help="Labeled videos (class folders, CSV) or skeleton files (*_test_1.npz).")]
Model = Annotated[str, Option(help="Recipe of the deployed model: runs/actions/recipe.toml")]
Plot = Annotated[Path | None, Option(help="PNG to write.")]
Results = Annotated[Path, Option("--results", help=(
    "Record of `edgevid run --jsonl`, or CSV with id, time_s, mps, sigma_mps, reason."))]  # fmt: skip
Csv = Annotated[Path | None, Option("--csv", help="CSV file to write, one row per track and kind.")]


@command.command("actions")
def actions(
    data: Data,
    model: Model,
    plot: Plot = None,
    force: shared.Force = False,
    clips_per_sequence: Annotated[int, Option(help="Clips per sequence, for segmentation.", min=0)] = 0,
) -> None:
    """Accuracy, precision, recall and F1 of each class; segmentation measures where steps are labeled."""
    from edgevid.evaluate.actions.metrics import report_lines
    from edgevid.evaluate.actions.score import evaluate

    check_outputs({"--plot": (plot, "PNG")}, force=force)
    console = results(soft_wrap=False)
    found = evaluate(model, data, clips_per_sequence=clips_per_sequence)
    heads = ("class", "precision", "recall", "F1", "clips" if found.segments is None else "steps")
    rows = [(n, f"{p:.3f}", f"{r:.3f}", f"{f1:.3f}", str(k)) for n, p, r, f1, k in report_lines(found.report)]
    print_rows(console, heads, rows)
    console.print(
        f"accuracy {100 * found.report.accuracy:.1f} % of the emitted verdicts, "
        f"coverage {100 * found.coverage:.1f} %, "
        f"{100 * found.accuracy_of_all:.1f} % where abstentions count as errors"
    )
    if found.segments is not None:
        s = found.segments
        console.print(
            f"sequences of clips: edit {s.edit:.1f}, F1@10/25/50 {s.f1_10:.1f}/{s.f1_25:.1f}/{s.f1_50:.1f}, "
            f"background classes: {', '.join(map(str, s.background)) or 'none'}"
        )
    if plot is not None:
        from edgevid.evaluate.plots import plot_confusion

        plot_confusion(found.report, f"{model} on {data.name}", plot)


@command.command("robustness")
def robustness(data: Data, model: Model, plot: Plot = None, force: shared.Force = False) -> None:
    """Accuracy under JPEG, blur, noise and scale (videos), or noise and losses (poses)."""
    from edgevid.evaluate.actions.score import measure

    check_outputs({"--plot": (plot, "PNG")}, force=force)
    console = results(soft_wrap=False)
    with console.status("measuring") as status:
        found = measure(model, data, report=status.update)
    rows = [(kind, "   ".join(f"{s:g}: {100 * a:.1f}" for s, a in pairs)) for kind, pairs in found.items()]
    heads = ("corruption", "strength: accuracy")
    print_rows(console, heads, rows, text=heads, title="Accuracy, %")
    if plot is not None:
        from edgevid.evaluate.plots import plot_robustness

        plot_robustness(found, f"{model} on {data.name}", plot)


@command.command("speed")
def speed(
    truth: Annotated[Path, Option(help="True speeds: CSV or JSON lines with id, time_s and mps or kmh.")],
    results_file: Results,
    pairs: Annotated[Path | None, Option(help="CSV with truth,result where the ids differ.")] = None,
    kind: Annotated[str, Option(help="Only live, smoothed or track speed values.")] = "",
    tracks: Annotated[bool, Option("--tracks", help="Also one row per track.")] = False,
    json_out: shared.Json = None,
    csv_out: Csv = None,
    force: shared.Force = False,
) -> None:
    """Errors, bias, interval coverage, abstention, variation and delay of measured speeds."""
    from edgevid.cli.output_files import write_json
    from edgevid.evaluate.speed.files import KINDS, check_ids, read_pairs, read_results, read_truth
    from edgevid.evaluate.speed.score import evaluate

    outputs = {"--json": (json_out, "JSON"), "--csv": (csv_out, "CSV")}
    check_outputs(outputs, (truth, results_file, pairs), force=force)
    if kind and kind not in KINDS:
        raise InputError(f"--kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    known, rows = read_truth(truth), read_results(results_file)
    if not rows:
        raise InputError(f"{results_file}: it has no speeds; run with --calibration to measure them")
    if pairs is not None:
        named = read_pairs(pairs)
        known = {named[name]: track for name, track in known.items() if name in named}
    rows = [row for row in rows if not kind or row.kind == kind]
    check_ids(known, rows)
    found = evaluate(known, rows)
    if write_json(found.as_json(), json_out):
        _print_speeds(found, tracks)
    if csv_out is not None:
        _write_csv(found, csv_out)


def _print_speeds(found: Evaluation, tracks: bool) -> None:
    console = results(soft_wrap=False)
    rows = zip(MEASURES, *map(_cells, found.overall.values()), strict=True)
    print_rows(console, ("absolute error, km/h", *found.overall), rows, title="Speed errors")
    if tracks:
        chosen = [MEASURES.index(name) for name in ("mean", "median", "p95", "bias", "abstained", "values")]
        heads = ("track", "value", *(MEASURES[k] for k in chosen))
        scores = [
            (name, kind, _cells(score)) for kind, some in found.tracks.items() for name, score in sorted(some.items())
        ]
        by_track = [(name, kind, *(cells[k] for k in chosen)) for name, kind, cells in scores]
        print_rows(console, heads, by_track, text=heads[1:2], title="By track")
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
    from edgevid.cli.output_files import write_text

    plain, text = found.as_json(), io.StringIO()
    rows = [{"kind": kind, "id": "all", **score} for kind, score in plain["overall"].items()]
    rows += [{"kind": kind, "id": name, **score} for kind, scores in plain["tracks"].items()
             for name, score in scores.items()]  # fmt: skip
    for row in rows:
        row["reasons"] = " ".join(f"{name}:{share:.4f}" for name, share in row["reasons"].items())
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())

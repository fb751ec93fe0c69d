"""`edgevid tune`: a tuned abstain policy from a table of scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgevid.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console

    from edgevid.evaluate.tune.policy import Report, Target

Table = Annotated[Path, typer.Argument(help="Scores: CSV or NPZ (docs/abstain.md).")]
Out = Annotated[Path, typer.Option(help="Policy file to write.")]
MaxRisk = Annotated[
    float | None, typer.Option(help="At most this share wrong among the answered, guaranteed.")
]
Confidence = Annotated[float, typer.Option(help="Probability with which --max-risk holds.")]
Method = Annotated[str, typer.Option(help="Of --max-risk: fixed-sequence, sgr or naive (no guarantee).")]
JointRisk = Annotated[float | None, typer.Option(help="At most this share of all tracks answered wrongly.")]
ErrorsKept = Annotated[float | None, typer.Option(help="At most this share of the original errors remains.")]
AbstainRate = Annotated[float | None, typer.Option(help="Refuse this share; needs no labels.")]
ErrorCost = Annotated[float | None, typer.Option(help="One error costs as much as so many silences.")]
Production = Annotated[
    Path | None, typer.Option(help="Scores from where the policy will run, compared with the table.")
]
Base = Annotated[Path | None, typer.Option(help="Policy file whose other rules are kept.")]
PerClass = Annotated[bool, typer.Option("--per-class", help="A threshold for each class with enough tracks.")]
Logits = Annotated[bool, typer.Option("--logits", help="The scores are raw network outputs.")]
NoFit = Annotated[bool, typer.Option("--no-temperature", help="Leave temperature and correlation alone.")]
Aggregate = Annotated[str | None, typer.Option(help="mean-log-prob, vote or sequential.")]
Task = Annotated[str, typer.Option(help='What is recognized: "action", ...')]
Model = Annotated[Path | None, typer.Option(help="Model file of the scores: binds the policy to its hash.")]
Plots = Annotated[Path | None, typer.Option(help="Folder for the plots (default: beside the policy).")]


def command(
    scores: Table,
    out: Out = Path("calibration/confidence/policy.toml"),
    max_risk: MaxRisk = None,
    confidence: Confidence = 0.95,
    method: Method = "fixed-sequence",
    max_joint_risk: JointRisk = None,
    max_errors_kept: ErrorsKept = None,
    abstain_rate: AbstainRate = None,
    error_cost: ErrorCost = None,
    production: Production = None,
    base: Base = None,
    per_class: PerClass = False,
    logits: Logits = False,
    no_temperature: NoFit = False,
    aggregate: Aggregate = None,
    task: Task = "",
    model: Model = None,
    plots: Plots = None,
) -> None:
    """Choose when to be silent: by default the best trade of errors gone for verdicts refused."""
    import dataclasses

    from rich.console import Console

    from edgevid.abstain.file import read_policy, write_policy
    from edgevid.abstain.policy import Settings
    from edgevid.evaluate.tune.policy import tune
    from edgevid.evaluate.tune.scores import read_scores

    target = _target(
        {
            "max-risk": max_risk,
            "max-joint-risk": max_joint_risk,
            "max-errors-kept": max_errors_kept,
            "abstain-rate": abstain_rate,
            "costs": error_cost,
        },
        confidence,
        method,
    )
    table = read_scores(scores, logits=logits)
    settings, started = Settings(), read_policy(base) if base else None
    if started is not None:
        started.must_fit(names=table.names, model_sha256=None)
        settings = started.settings
    if aggregate is not None:
        settings = dataclasses.replace(settings, aggregate=aggregate)
    report = tune(
        table,
        target,
        settings=settings,
        production=read_scores(production, logits=logits) if production else None,
        per_class=per_class,
        fit=not no_temperature,
    )
    sha256 = _sha256(model) if model else started.model_sha256 if started else ""
    kept = dataclasses.replace(
        report.policy(task=task or (started.task if started else ""), model_sha256=sha256),
        speed=started.speed if started else None,
    )
    write_policy(out, kept)
    drawn = _draw(report, plots or out.parent, out.stem, asked=plots is not None)
    console = Console(soft_wrap=True, highlight=False)
    _say(console, report)
    _say_files(console, [out, *drawn])


def _target(asked: dict[str, float | None], confidence: float, method: str) -> Target:
    from edgevid.evaluate.tune.policy import Target

    given = {kind: value for kind, value in asked.items() if value is not None}
    if len(given) > 1:
        raise InputError(f"tune: expected one target, got {', '.join('--' + kind for kind in given)}")
    kind, value = next(iter(given.items()), ("knee", 0.0))
    return Target(kind, value, confidence, method)


def _sha256(path: Path) -> str:
    from edgevid.files.digest import sha256_of

    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"--model: expected a readable file, got {path} ({error.strerror})") from error


def _draw(report: Report, folder: Path, stem: str, *, asked: bool) -> list[Path]:
    from edgevid.evaluate.tune.plots import draw_all

    try:
        return draw_all(report, folder, stem)
    except MissingExtraError as error:
        if asked:
            raise
        report.warnings.append(f"no plots: {error}")
        return []


def _say(console: Console, report: Report) -> None:
    from rich.markup import escape

    tracks = len(report.chosen_on.confidence)
    if report.curve is not None:
        _say_bars(console, report)
    chosen = report.settings.threshold
    console.print(f"\n[bold]Threshold {chosen:.4f}[/]  ({report.target.kind}, chosen on {tracks} tracks)")
    for name, value in report.settings.per_class.items():
        console.print(f"  {name}: " + ("never said" if value > 1 else f"{value:.4f}"), markup=False)
    console.print(f"refused        {1 - report.coverage:7.1%}")
    if report.curve is not None and report.before is not None and report.after is not None:
        found = report.curve
        console.print(f"errors gone    {report.errors_gone:7.1%}")
        console.print(f"risk           {found.errors / found.n:7.2%} -> {report.measured_risk:.2%}")
        if report.guaranteed:
            limit, sure = report.target.value, report.target.confidence
            console.print(
                f"[green]guaranteed[/]     the true risk is at most {limit:.2%} with probability {sure:.4g}"
            )
        console.print(
            f"areas          AUGRC {found.augrc:.4f}, AURC {found.aurc:.4f}, E-AURC {found.e_aurc:.4f}"
        )
        console.print(f"calibration    ECE {report.before.ece:.4f} -> {report.after.ece:.4f}", end="")
        console.print(
            f" (temperature {report.settings.temperature:.3f}, fitted on {report.fitted_on} tracks)"
        )
    if report.shift is not None:
        moved = report.shift
        console.print(f"shift          KS {moved.ks:.3f} (p = {moved.p:.2g}), PSI {moved.psi:.3f}")
    for warning in report.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")


def _say_bars(console: Console, report: Report) -> None:
    from edgevid.evaluate.tune.plots import bar_rows

    found = report.curve
    if found is None or not found.errors:
        return
    console.print("[bold]threshold   answered                    errors that remain[/]")
    for row in bar_rows(found, 10):
        answered, kept = float(found.coverage[row]), float(found.errors_kept[row])
        bars = [("█" * round(20 * share)).ljust(20) for share in (answered, kept)]
        mark = " ◄" if not report.settings.per_class and _is_mark(report, row) else ""
        left, right = f"[blue]{bars[0]}[/] {answered:5.0%}", f"[red]{bars[1]}[/] {kept:5.0%}"
        console.print(f"{found.thresholds[row]:9.3f}   {left}  {right}{mark}")


def _is_mark(report: Report, row: int) -> bool:
    from edgevid.evaluate.tune.plots import bar_rows

    assert report.curve is not None
    rows = bar_rows(report.curve, 10)
    distances = abs(report.curve.thresholds[rows] - report.settings.threshold)
    return bool(rows[distances.argmin()] == row)


def _say_files(console: Console, paths: list[Path]) -> None:
    console.print()
    for path in paths:
        console.print(f"wrote {path}", markup=False)

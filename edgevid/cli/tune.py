"""`edgevid tune`: an abstain policy from a table of scores, the gate of a site from a recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import advance, check_outputs, print_rows, progress_bar, results
from edgevid.cli.evaluate import Labels, Values, show
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.abstain import PolicyFile
    from edgevid.evaluate.tune.search import Kind, Method, Report, Target

Out = Annotated[Path, shared.out_option("Policy file to write.")]
Method_ = Annotated[str, Option(help="Method of --max-risk: fixed-sequence or naive (no guarantee).")]
JointRisk = Annotated[float | None, Option(help="At most this share of all tracks emitted and wrong.")]
CostRatio = Annotated[float | None, Option(help="One error costs as much as this many abstentions.")]
PerClass = Annotated[bool, Option("--per-class", help="A threshold for each class with enough tracks.")]
NoFit = Annotated[bool, Option("--no-temperature", help="Do not fit temperature and correlation.")]
Unlike = Annotated[float | None, Option(help="Share of known tracks that may be rejected as unlike training.")]
Model = Annotated[Path | None, Option(help="Model file of the scores: binds the policy to its hash.")]


command = typer.Typer(no_args_is_help=True, help="Choose thresholds on your own data, with a promise.")


@command.command("policy")
def policy_command(
    scores: Annotated[Path, Argument(help="Scores: CSV or NPZ (docs/abstain.md).")],
    out: Out = Path("calibration/confidence/policy.toml"),
    force: shared.Force = False,
    max_risk: Annotated[float | None, Option(help="Guaranteed share of errors among emitted.")] = None,
    confidence: Annotated[float, Option(help="Probability with which --max-risk holds.")] = 0.95,
    method: Method_ = "fixed-sequence",
    max_joint_risk: JointRisk = None,
    max_residual_errors: Annotated[float | None, Option(help="Share of errors that may remain.")] = None,
    abstain_rate: Annotated[float | None, Option(help="Abstain on this share; needs no labels.")] = None,
    cost_ratio: CostRatio = None,
    production: Annotated[Path | None, Option(help="Scores of the deployment, to compare with.")] = None,
    base: Annotated[Path | None, Option(help="Policy file whose other rules are kept.")] = None,
    per_class: PerClass = False,
    unlike: Unlike = None,
    unknown: Annotated[Path | None, Option(help="Scores of clips of none of the classes, to reject.")] = None,
    values: Values = "auto",
    logits: Annotated[bool, Option("--logits", help="Raw network outputs: as --values logits.")] = False,
    labels: Labels = "auto",
    no_temperature: NoFit = False,
    aggregate: Annotated[str | None, Option(help="mean-log-prob, vote or sequential.")] = None,
    task: Annotated[str, Option(help='What is recognized: "action", ...')] = "",
    model: Model = None,
    html: Annotated[Path | None, Option(help="HTML page with plots (default: next to the policy).")] = None,
) -> None:
    """Choose when to abstain: by default the best trade of errors removed for abstentions."""
    from edgevid.evaluate.page import evaluation_of
    from edgevid.evaluate.tune.scores import read_scores
    from edgevid.evaluate.tune.search import tune

    targets: dict[Kind, float | None] = {
        "max-risk": max_risk, "max-joint-risk": max_joint_risk, "max-residual-errors": max_residual_errors,
        "abstain-rate": abstain_rate, "cost-ratio": cost_ratio,
    }  # fmt: skip
    html = html or out.with_suffix(".html")
    outputs = {"--out": (out, "TOML"), "--html": (html, "HTML")}
    check_outputs(outputs, (scores, production, base, model, unknown), force=force)
    kind: Any = "logits" if logits and values == "auto" else values
    if logits and kind != "logits":
        raise InputError(f"tune: expected one kind of scores, got --logits and --values {values}")
    table = read_scores(scores, values=kind, labels=cast("Any", labels))
    started = _started(base, table.names, aggregate)
    target = _target(targets, confidence, method)
    deployed = read_scores(production, values=kind, labels=cast("Any", labels)) if production else None
    others = read_scores(unknown, values=kind) if unknown else None
    report = tune(table, target, settings=started.settings, production=deployed, per_class=per_class,
                  fit=not no_temperature, unlike=unlike, unknown=others)  # fmt: skip
    _write(out, report, started, task, model)
    results().print(f"written: {out}", markup=False)
    show(evaluation_of(report), scores.name, "", ([], []), None, html, details=False)


@command.command("gate")
def gate_command(
    source: shared.Source,
    site: Annotated[Path | None, Option(help="Site file, which gets the threshold; else it is printed.")] = None,
    max_loss: Annotated[float, Option(help="Guaranteed mean loss of detections.", min=0.001, max=0.999)] = 0.05,
    confidence: Annotated[float, Option(help="Probability with which it holds.", min=0.5, max=0.9999)] = 0.95,
    max_frames: shared.MaxFrames = None,
) -> None:
    """Choose when the detector may be skipped, on a recording of the camera (docs/pipeline.md)."""
    from edgevid.evaluate.tune.gate import choose, try_gates
    from edgevid.evaluate.tune.risk import min_error_free, upper_bound
    from edgevid.site import Site, build_detector, load_site, write_gate
    from edgevid.video.open import open_video

    loaded, delta = load_site(site or Site()), 1 - confidence
    with open_video(source) as video, progress_bar(source, max_frames or video.frame_count) as bar:
        detector, frames = build_detector(loaded.site), islice(video, max_frames)
        trials = try_gates(loaded, detector, frames, video.size, on_frame=lambda: advance(bar))
    best, objects = choose(trials, max_loss, delta), len(trials[0].drawn)
    bounds = [upper_bound(int(one.drawn.sum()), objects, delta) for one in trials]
    print_rows(results(), ("threshold", "frames detected", "lost", "lost at most", "HOTA", "events missed", ""), [
        (f"{one.threshold:g}", f"{one.inferred:.1%}", f"{one.lost:.2%}", f"{bound:.1%}", f"{one.hota:.3f}",
         f"{one.missed} of {one.events}", "◄" * (one is best))
        for one, bound in zip(trials, bounds, strict=True)])  # fmt: skip
    if best is None:
        raise InputError(
            f"max-loss {max_loss:g}: expected at least {min_error_free(max_loss, delta)} objects, none of them lost, "
            f"got {objects} with a certified loss of {min(bounds):.1%}, and {trials[0].missed} missed events, at the "
            "strictest threshold: give a longer recording, or a larger --max-loss"
        )
    if site:
        write_gate(site, best.threshold)
    added = f'[detect]\nevery = "auto"\ngate_threshold = {best.threshold}'
    results().print(f"wrote {site}" if site else f"Add this to a site file:\n{added}", markup=False)


def _started(base: Path | None, names: tuple[str, ...], aggregate: str | None) -> PolicyFile:
    """The rules to start from: those of `base`, else the defaults."""
    from edgevid.abstain import PolicyFile, Settings, read_policy

    started = read_policy(base, names=names) if base else PolicyFile(names, Settings())
    chosen: Any = aggregate or started.settings.aggregate
    return dataclasses.replace(started, settings=dataclasses.replace(started.settings, aggregate=chosen))


def _write(out: Path, report: Report, started: PolicyFile, task: str, model: Path | None) -> None:
    from edgevid.abstain import write_policy

    sha256 = started.model_sha256
    if model:
        from edgevid.runtime.variants import model_digest

        try:
            sha256 = model_digest(model)
        except OSError as error:
            raise InputError(f"--model: expected a readable file, got {model} ({error.strerror})") from error
    tuned = report.policy(task=task or started.task, model_sha256=sha256)
    write_policy(out, dataclasses.replace(tuned, speed=started.speed))


def _target(targets: Mapping[Kind, float | None], confidence: float, method: str) -> Target:
    from edgevid.evaluate.tune.search import Target

    chosen = [(kind, value) for kind, value in targets.items() if value is not None]
    if len(chosen) > 1:
        raise InputError(f"tune: expected one target, got {', '.join('--' + kind for kind, _ in chosen)}")
    kind, value = chosen[0] if chosen else ("knee", 0.0)
    return Target(kind, value, confidence, cast("Method", method))

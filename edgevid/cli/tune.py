"""`edgevid tune`: an abstain policy from a table of scores, the gate of a site from a recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import typer

from edgevid.cli.console import advance, check_outputs, print_rows, progress_bar, results
from edgevid.cli.evaluate import show
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.abstain import PolicyFile
    from edgevid.evaluate.tune.search import Kind, Target

TARGETS = ("max-risk", "max-joint-risk", "max-residual-errors", "abstain-rate", "cost-ratio")
command = typer.Typer(no_args_is_help=True, help="Choose thresholds on your own data, with a promise.")


@command.command("policy")
def policy_command(**options: Any) -> None:
    """Choose when to abstain: by default the best trade of errors removed for abstentions."""
    from edgevid.abstain import write_policy
    from edgevid.evaluate.page import evaluation_of
    from edgevid.evaluate.tune.scores import read_scores
    from edgevid.evaluate.tune.search import tune
    from edgevid.runtime.variants import model_digest

    given = SimpleNamespace(**options)
    html, values = given.html or given.out.with_suffix(".html"), given.values
    outputs = {"--out": (given.out, "TOML"), "--html": (html, "HTML")}
    check_outputs(outputs, (given.scores, given.production, given.base, given.model, given.unknown), force=given.force)
    kind: Any = "logits" if given.logits and values == "auto" else values
    if given.logits and kind != "logits":
        raise InputError(f"tune: expected one kind of scores, got --logits and --values {values}")
    table = read_scores(given.scores, values=kind, labels=given.labels)
    started = _started(given.base, table.names, given.aggregate)
    target = _target(options)
    deployed = read_scores(given.production, values=kind, labels=given.labels) if given.production else None
    others = read_scores(given.unknown, values=kind) if given.unknown else None
    report = tune(table, target, settings=started.settings, production=deployed, per_class=given.per_class,
                  fit=not given.no_temperature, unlike=given.unlike, unknown=others)  # fmt: skip
    sha256 = started.model_sha256
    if given.model:
        try:
            sha256 = model_digest(given.model)
        except OSError as error:
            raise InputError(f"--model: expected a readable file, got {given.model} ({error.strerror})") from error
    tuned = report.policy(task=given.task or started.task, model_sha256=sha256)
    write_policy(given.out, dataclasses.replace(tuned, speed=started.speed))
    results().print(f"written: {given.out}", markup=False)
    show(evaluation_of(report), given.scores.name, "", ([], []), None, html, details=False)


@command.command("gate")
def gate_command(source: str, site: Path | None, max_loss: float, confidence: float, max_frames: int | None) -> None:
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
        least, missed = min_error_free(max_loss, delta), trials[0].missed
        raise InputError(f"max-loss {max_loss:g}: expected at least {least} objects, none of them lost, got {objects} "
                         f"with a certified loss of {min(bounds):.1%}, and {missed} missed events, at the strictest "
                         "threshold: give a longer recording, or a larger --max-loss")  # fmt: skip
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


def _target(given: Mapping[str, Any]) -> Target:
    from edgevid.evaluate.tune.search import Target

    found = {kind: given[kind.replace("-", "_")] for kind in TARGETS}
    chosen = [(kind, value) for kind, value in found.items() if value is not None]
    if len(chosen) > 1:
        raise InputError(f"tune: expected one target, got {', '.join('--' + kind for kind, _ in chosen)}")
    kind, value = cast("tuple[Kind, float]", chosen[0] if chosen else ("knee", 0.0))
    return Target(kind, value, given["confidence"], given["method"])

"""`edgevid evaluate`: quality on labeled data, each task in the same form: RESULTS --truth TRUTH."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, write_json, write_text
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.evaluate.evaluation import Evaluation

FAILED = 1  # Exit status where a limit is not kept; an error in the command is 2
command = typer.Typer(no_args_is_help=True, help="Measure quality on labeled data.")

Boxes = Annotated[Path, Argument(help="MOT, KITTI, COCO JSON, a YOLO folder or records (docs/evaluate.md).")]
Truth = Annotated[Path, Option(help="Labeled data that the results are compared with.")]
Events = Annotated[Path, Argument(help="Events of `edgevid run`: JSON lines or SQLite.")]
Model = Annotated[str, Argument(help="Recipe of the deployed model: runs/actions/recipe.toml")]
Clips = Annotated[Path, Option(help="Labeled videos (class folders, CSV) or skeleton files (*_test_1.npz).")]
Score = Annotated[float, Option("--score-threshold", "--conf", help="Of precision and recall.", min=0, max=1)]
Kinds = Annotated[str | None, Option(help="Kinds of events that are alarms: stopped,wrong-way; default: the truth's.")]
Tolerance = Annotated[float, Option(help="Seconds between two moments that are the same.", min=0)]
PerSequence = Annotated[int, Option(help="Clips per sequence, for segmentation.", min=0)]
Min = Annotated[list[str], Option("--min", help="Floor METRIC=VALUE; exit status 1 below it; repeatable.")]
Max = Annotated[list[str], Option("--max", help="Ceiling METRIC=VALUE; exit status 1 above it; repeatable.")]
Html = Annotated[Path | None, Option("--html", help="HTML page with plots to write.")]


def _common(
    min_: Min = [],  # noqa: B006 (typer needs a list)
    max_: Max = [],  # noqa: B006
    json_out: shared.Json = None,
    html: Html = None,
    details: Annotated[bool, Option("--details", help="Also print the tables by group.")] = False,
    force: shared.Force = False,
) -> None: ...


def _evaluates(name: str) -> Callable[[Callable[..., Evaluation]], Callable[..., Evaluation]]:
    """The command of a function that gives an Evaluation: with limits, and the outputs of all tasks."""

    def add(function: Callable[..., Evaluation]) -> Callable[..., Evaluation]:
        def run(min_: list[str], max_: list[str], json_out: Path | None, html: Path | None, details: bool,
                force: bool, **given: Any) -> None:  # fmt: skip
            inputs = [one for one in given.values() if isinstance(one, (str, Path))]
            check_outputs({"--json": (json_out, "JSON"), "--html": (html, "HTML")}, inputs, force=force)
            what = " and ".join(str(given[key]) for key in list(given)[: 1 + (name == "compare")])
            _give(function(**given), what, str(given.get("truth") or ""), (min_, max_), json_out, html, details)

        shape, more = inspect.signature(function), inspect.signature(_common)
        parameters = [*shape.parameters.values(), *more.parameters.values()]
        by_kind = sorted(parameters, key=lambda one: one.default is not inspect.Parameter.empty)
        run.__signature__ = inspect.Signature(by_kind)  # type: ignore[attr-defined]
        hints = get_type_hints(function, globals(), {"Evaluation": Any}, include_extras=True)
        run.__annotations__ = hints | get_type_hints(_common, include_extras=True) | {"return": None}
        run.__doc__ = function.__doc__
        command.command(name)(run)
        return function

    return add


def _give(found: Evaluation, what: str, truth: str, limits: tuple[list[str], list[str]], json_out: Path | None,
          html: Path | None, details: bool) -> None:  # fmt: skip
    """Prints and writes an evaluation; exit status 1 where a limit is not kept."""
    from edgevid.evaluate.evaluation import between, cell, is_word, missed, shown
    from edgevid.evaluate.page import page

    figures = found.figures()
    failed = missed(found, figures, *limits)
    if write_json(found.as_dict(figures) | {"results": what, "truth": truth, "missed": failed}, json_out):
        console = results(soft_wrap=False)
        rows = [
            (name, shown(one.value, unit := found.units.get(name)), between(one, unit)) for name, one in figures.items()
        ]
        if not found.task.startswith("compare ") or "Difference" not in found.tables:
            print_rows(console, (found.task, "value", "95 % interval"), rows)
        for title, one in found.all_tables().items():
            if details or not one.detail:
                first = (one.rows or [one.heads])[0]
                words = [head for head, value in zip(one.heads, first, strict=True) if is_word(value)]
                cells = [[escape(cell(v, head)) for v, head in zip(row, one.heads, strict=True)] for row in one.rows]
                console.print()
                print_rows(console, one.heads, cells, text=words, title=title)
        for note in found.all_notes():
            console.print(f"[yellow]note:[/] {escape(note)}")
        for sentence in failed:
            console.print(f"[bold red]failed:[/] {escape(sentence)}")
    if html is not None:
        write_text(html, page(found, figures, what, truth, sum(map(len, limits)), failed))
    raise typer.Exit(FAILED if failed else 0)


@_evaluates("tracking")
def tracking(results: Boxes, truth: Truth, classes: shared.Classes = None) -> Evaluation:
    """HOTA, detection and association accuracy, IDF1, MOTA and identity switches."""
    from edgevid.evaluate.tracking import evaluate

    return evaluate(results, truth, classes=shared.split_names(classes, "--classes"))


@_evaluates("detection")
def detection(results: Boxes, truth: Truth, model: shared.Model = None, score_threshold: Score = 0.25,
              classes: shared.Classes = None) -> Evaluation:  # fmt: skip
    """COCO's AP50, AP50:95 and AR by class; precision and recall at the model's score."""
    from edgevid.evaluate.detection import evaluate
    from edgevid.models.hub import find_recipe
    from edgevid.runtime.recipe import DetectorRecipe

    if model:
        score_threshold = DetectorRecipe.of(find_recipe(model)).decode.score_threshold
    return evaluate(results, truth, score=score_threshold, classes=shared.split_names(classes, "--classes"))


@_evaluates("segmentation")
def segmentation(
    results: Annotated[str, Argument(help="Folder of text files with a label per step, or a recipe.")], truth: Truth,
    background: Annotated[str | None, Option(help="Classes that edit and F1 leave out.")] = None,
    clips_per_sequence: PerSequence = 0,
) -> Evaluation:  # fmt: skip
    """Accuracy, edit score and F1@10/25/50 of the steps of long videos (MS-TCN)."""
    from edgevid.evaluate.recognition import evaluate, evaluate_segments

    if Path(results).is_dir() and not (Path(results) / "recipe.toml").is_file():
        return evaluate_segments(results, truth, background=shared.split_names(background))
    return evaluate(results, truth, clips_per_sequence=clips_per_sequence)


@_evaluates("actions")
def actions(model: Model, truth: Clips, clips_per_sequence: PerSequence = 0) -> Evaluation:
    """Accuracy, precision, recall and F1 of a recognizer on clips that it was not trained on."""
    from edgevid.evaluate.recognition import evaluate

    return evaluate(model, truth, clips_per_sequence=clips_per_sequence)


@_evaluates("robustness")
def robustness(model: Model, truth: Clips) -> Evaluation:
    """Accuracy under JPEG, blur, noise and scale (videos), or noise and losses (poses)."""
    from edgevid.cli.console import notes
    from edgevid.evaluate.recognition import evaluate_robustness

    with notes().status("measuring") as status:
        return evaluate_robustness(model, truth, report=status.update)


@_evaluates("abstain")
def abstain(
    policy: Annotated[Path, Argument(help="Policy file of `edgevid tune`.")], truth: Truth,
    values: Annotated[str, Option(help="What scores are, if unclear: probabilities, percent or logits.")] = "auto",
    labels: Annotated[str, Option(help="What labels are, if unclear: names or indices.")] = "auto",
) -> Evaluation:  # fmt: skip
    """Whether a policy's promised risk holds on new labeled scores (CSV or NPZ)."""
    from edgevid.evaluate.abstention import evaluate

    return evaluate(policy, truth, values=values, labels=labels)


@_evaluates("speed")
def speed(
    results: Annotated[Path, Argument(help="Record of `edgevid run --jsonl`, or CSV (docs/speed.md).")], truth: Truth,
    pairs: Annotated[Path | None, Option(help="CSV with truth,result where the ids differ.")] = None,
    kind: Annotated[str, Option(help="Only live, smoothed or track speed values.")] = "",
) -> Evaluation:  # fmt: skip
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
    return evaluate(known, rows)


@_evaluates("counting")
def counting(results: Events, truth: Truth) -> Evaluation:
    """Crossings by class and direction against true counts."""
    from edgevid.evaluate.events import evaluate_counts

    return evaluate_counts(results, truth)


@_evaluates("alarms")
def alarms(
    results: Events, truth: Truth, kinds: Kinds = None, tolerance_s: Tolerance = 10.0,
    camera_days: Annotated[float, Option(help="Observed time; default: of the events.", min=0)] = 0.0,
) -> Evaluation:  # fmt: skip
    """Recall, false alarms per camera-day and delay of alarms against true times."""
    from edgevid.evaluate.events import evaluate_alarms

    chosen = shared.split_names(kinds, "--kinds")
    return evaluate_alarms(results, truth, kinds=chosen, tolerance_s=tolerance_s, camera_days=camera_days)


TASKS: dict[str, Callable[..., Evaluation]] = {
    "tracking": tracking, "detection": detection, "segmentation": segmentation, "actions": actions,
    "abstain": abstain, "speed": speed, "counting": counting, "alarms": alarms,
}  # fmt: skip


@_evaluates("compare")
def compare(
    a: Annotated[Path, Argument(help="Results, policy, recipe, scores (CSV, NPZ) or events.")],
    b: Annotated[Path, Argument(help="The same of another model or version.")],
    truth: Annotated[Path | None, Option(help="Labeled data; scores have their labels, events need none.")] = None,
    task: Annotated[str, Option(help=f"With --truth: {', '.join(TASKS)}.")] = "",
    policy: Annotated[Path | None, Option(help="Of scores: abstain policy of both, or of A.")] = None,
    policy_b: Annotated[Path | None, Option(help="Of scores: abstain policy of B.")] = None,
    groups: Annotated[Path | None, Option(help="Of scores: CSV track,group, drawn as wholes.")] = None,
    tolerance_s: Tolerance = 1.0,
) -> Evaluation:
    """Whether the difference of two results is real (paired bootstrap); of events, which are in one only."""
    from edgevid.evaluate import evaluation, events, paired

    if truth is not None:
        if task not in TASKS:
            raise InputError(f"--task: expected one of {', '.join(TASKS)}, got {task!r}")
        return evaluation.compare(*(TASKS[task](one, truth) for one in (a, b)))
    if a.suffix.lower() not in (".csv", ".npz"):
        return events.differ(a, b, tolerance_s=tolerance_s)
    one, two = paired.read_tracks(a, policy), paired.read_tracks(b, policy_b or policy)
    scenes = dict(row[:2] for row in csv.reader(groups.open(encoding="utf-8-sig")) if len(row) > 1) if groups else {}
    if groups and not scenes.keys() & set(one.items):
        raise InputError(f"{groups}: expected rows track,group with the tracks of {a}, got none of them")
    return paired.compare(one, two, [scenes.get(item, item) for item in one.items])

"""`edgevid evaluate`: quality on labeled data, each task in the same form: RESULTS --truth TRUTH; `edgevid data`: what
labeled data hold, and which of the labels may be wrong."""

from __future__ import annotations

import csv
import inspect
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import advance, check_outputs, print_rows, progress_bar, results, write_json, write_text
from edgevid.cli.report import csv_text
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.evaluate.evaluation import Evaluation

REQUIRED = inspect.Parameter.empty
FAILED = 1  # Exit status where a limit is not kept; an error in the command is 2
command = typer.Typer(no_args_is_help=True, help="Measure quality on labeled data (docs/evaluate.md).")

Options = dict[str, tuple[Any, Any]]  # By name the annotation and the default
BOXES, EVENTS = "MOT, KITTI, COCO JSON, YOLO folder or records.", "Events: JSON lines or SQLite of `edgevid run`."
RECIPE, MODEL = "Recipe of the deployed model: runs/actions/recipe.toml", "Recipe or name of a recognizer or detector."
Score = Annotated[float, Option("--score-threshold", "--conf", help="Of precision and recall.", min=0, max=1)]
Background = Annotated[str | None, Option(help="Classes that edit and F1 leave out.")]
PerSequence = Annotated[int, Option(help="Clips per sequence, for segmentation.", min=0)]
Values = Annotated[str, Option(help="What scores are, if unclear: probabilities, percent or logits.")]
Labels = Annotated[str, Option(help="What labels are, if unclear: names or indices.")]
Pairs = Annotated[Path | None, Option(help="CSV with truth,result where the ids differ.")]
Kind = Annotated[str, Option(help="Only live, smoothed or track speed values.")]
Kinds = Annotated[str | None, Option(help="Kinds of events that are alarms; default: those of the truth.")]
Policy = Annotated[Path | None, Option(help="Abstain policy of `edgevid tune`; else the default one.")]
Tolerance = Annotated[float, Option(help="Seconds between two moments that are the same.", min=0)]
CameraDays = Annotated[float, Option(help="Observed time; default: from first to last event.", min=0)]
CLASSES: Options = {"classes": (shared.Classes, None)}
CLIPS: Options = {"clips_per_sequence": (PerSequence, 0)}


class Task(NamedTuple):
    """A command: its function in edgevid.evaluate, its help, its argument, and its options besides the common ones."""

    function: str
    text: str
    results: str
    options: Options


TASKS = {
    "tracking": Task("tracking.evaluate", "HOTA, its parts, IDF1, MOTA and identity switches.", BOXES, CLASSES),
    "detection": Task(
        "detection.evaluate", "COCO's AP and AR by class; precision and recall at the model's score.", BOXES,
        {"model": (shared.Model, None), "score_threshold": (Score, 0.25), **CLASSES}),
    "segmentation": Task(
        "recognition.evaluate_segments", "Accuracy, edit score and F1@10/25/50 of the steps of long videos (MS-TCN).",
        "Folder of text files with a label per step, or a recipe.", {"background": (Background, None), **CLIPS}),
    "actions": Task(
        "recognition.evaluate", "Accuracy and F1 of a recognizer on clips that it was not trained on.", RECIPE, CLIPS),
    "robustness": Task(
        "robustness.evaluate", "What is right, wrong and abstained under JPEG, blur, noise, dark, scale, rotation.",
        MODEL, {"policy": (Policy, None)}),
    "abstain": Task(
        "verdicts.evaluate", "Whether a policy's promised risk holds on new labeled scores (CSV, NPZ).",
        "Policy file of `edgevid tune`.", {"values": (Values, "auto"), "labels": (Labels, "auto")}),
    "speed": Task(
        "speed.evaluate_files", "Errors, bias, interval coverage, abstention, variation and delay of speeds.",
        "Record of `edgevid run --jsonl`, or CSV (docs/speed.md).", {"pairs": (Pairs, None), "kind": (Kind, "")}),
    "counting": Task("events.evaluate_counts", "Crossings by class and direction against true counts.", EVENTS, {}),
    "alarms": Task(
        "events.evaluate_alarms", "Recall, false alarms per camera-day and delay of alarms.", EVENTS,
        {"kinds": (Kinds, None), "tolerance_s": (Tolerance, 10.0), "camera_days": (CameraDays, 0.0)}),
}  # fmt: skip
COMMON: Options = {
    "min_": (Annotated[list[str], Option("--min", help="Floor METRIC=VALUE: exit status 1 below it; repeatable.")], []),
    "max_": (Annotated[list[str], Option("--max", help="Ceiling METRIC=VALUE: as --min, above it.")], []),
    "json_out": (shared.Json, None),
    "html": (Annotated[Path | None, Option("--html", help="HTML page with plots to write.")], None),
    "details": (Annotated[bool, Option("--details", help="Also print the tables by group.")], False),
    "force": (shared.Force, False),
}


def _evaluate(task: str, what: Any, truth: Path, **options: Any) -> Evaluation:
    """Calls the function of a task; a list of names is one text."""
    module, _, name = TASKS[task].function.rpartition(".")
    for key in options.keys() & {"classes", "kinds", "background"}:
        options[key] = shared.split_names(options[key], f"--{key}")
    found: Evaluation = getattr(import_module(f"edgevid.evaluate.{module}"), name)(what, truth, **options)
    return found


def _add(name: str, text: str, options: Options, function: Callable[..., Evaluation]) -> None:
    """A command whose function takes these options; it prints and writes the evaluation, and checks its limits."""

    def run(min_: list[str], max_: list[str], json_out: Path | None, html: Path | None, details: bool, force: bool,
            **given: Any) -> None:  # fmt: skip
        inputs = [one for one in given.values() if isinstance(one, (str, Path))]
        check_outputs({"--json": (json_out, "JSON"), "--html": (html, "HTML")}, inputs, force=force)
        titles = [str(given[key]) for key in ("results", "a", "b") if key in given]
        show(function(**given), " and ".join(titles), str(given["truth"] or ""), (min_, max_), json_out, html, details)

    every = options | COMMON
    parameters = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default)
                  for key, (_, default) in every.items()]  # fmt: skip
    run.__signature__, run.__doc__ = inspect.Signature(parameters), text  # type: ignore[attr-defined]
    run.__annotations__ = {key: annotation for key, (annotation, _) in every.items()}
    command.command(name)(run)


def show(found: Evaluation, what: str, truth: str, limits: tuple[list[str], list[str]], json_out: Path | None,
         html: Path | None, details: bool) -> None:  # fmt: skip
    """Prints and writes an evaluation; exit status 1 where a limit is not kept."""
    from edgevid.evaluate.evaluation import between, cell, is_word, missed, shown
    from edgevid.evaluate.page import page

    figures = found.figures()
    failed = missed(found, figures, *limits)
    if write_json(found.as_dict(figures) | {"results": what, "truth": truth, "missed": failed}, json_out):
        console = results(soft_wrap=False)
        rows = [(name, shown(one.value, unit := found.units.get(name)), between(one, unit))
                for name, one in figures.items()]  # fmt: skip
        if "Difference" not in found.tables:
            heads, wide = (found.task, "value", "95 % interval"), any(row[2] != "-" for row in rows)
            print_rows(console, heads[: 2 + wide], [row[: 2 + wide] for row in rows])
        for title, one in found.all_tables().items():
            if one.rows and (details or not one.detail):
                cells = [[escape(cell(v, head)) for v, head in zip(row, one.heads, strict=True)] for row in one.rows]
                words = [head for head, value in zip(one.heads, one.rows[0], strict=True) if is_word(value)]
                console.print()
                print_rows(console, one.heads, cells, text=words, title=title)
        for mark, texts in (("[yellow]note:[/]", found.all_notes()), ("[bold red]failed:[/]", failed)):
            for text in texts:
                console.print(f"{mark} {escape(text)}")
    if html is not None:
        write_text(html, page(found, figures, what, truth, sum(map(len, limits)), failed))
    raise typer.Exit(FAILED if failed else 0)


def _compare(
    a: Path, b: Path, truth: Path | None, task: str, policy: Path | None, policy_b: Path | None, groups: Path | None,
    tolerance_s: float,
) -> Evaluation:  # fmt: skip
    from edgevid.evaluate import evaluation, events, verdicts

    if truth is not None:
        if task not in TASKS:
            raise InputError(f"--task: expected one of {', '.join(TASKS)}, got {task!r}")
        return evaluation.compare(*(_evaluate(task, one, truth) for one in (a, b)))
    if a.suffix.lower() not in (".csv", ".npz"):
        return events.differ(a, b, tolerance_s=tolerance_s)
    one, two = verdicts.read_tracks(a, policy), verdicts.read_tracks(b, policy_b or policy)
    scenes = dict(row[:2] for row in csv.reader(groups.open(encoding="utf-8-sig")) if len(row) > 1) if groups else {}
    if groups and not scenes.keys() & set(one.items):
        raise InputError(f"{groups}: expected rows track,group with the tracks of {a}, got none of them")
    return verdicts.compare(one, two, [scenes.get(item, item) for item in one.items])


for _name, _task in TASKS.items():
    _own: Options = {
        "results": (
            Annotated[str if _task.results in (RECIPE, MODEL) else Path, Argument(help=_task.results)],
            REQUIRED,
        ),
        "truth": (Annotated[Path, Option(help="Labeled data to compare with.")], REQUIRED),
    }
    _add(_name, _task.text, _own | _task.options,
         lambda results, truth, _name=_name, **options: _evaluate(_name, results, truth, **options))  # fmt: skip
_add("compare", "Whether the difference of two results is real; of events, which are in one only.", {
    "a": (Annotated[Path, Argument(help="Results, policy, recipe, scores (CSV, NPZ) or events.")], REQUIRED),
    "b": (Annotated[Path, Argument(help="The same of another model or version.")], REQUIRED),
    "truth": (Annotated[Path | None, Option(help="Labeled data; scores and events need none.")], None),
    "task": (Annotated[str, Option(help=f"With --truth: {', '.join(TASKS)}.")], ""),
    "policy": (Annotated[Path | None, Option(help="Of scores: abstain policy of both, or of A.")], None),
    "policy_b": (Annotated[Path | None, Option(help="Of scores: abstain policy of B.")], None),
    "groups": (Annotated[Path | None, Option(help="Of scores: CSV track,group, drawn as wholes.")], None),
    "tolerance_s": (Tolerance, 1.0),
}, _compare)  # fmt: skip

data_command = typer.Typer(no_args_is_help=True, help="Look into labeled data before it is trained on.")
SHOWN = 200  # Items on the page
Pair = tuple[Path, Path]
SIDE = 512  # Pixels of the longer side of an image for review


@data_command.command("describe")
def describe_data(
    data: Annotated[Path, Argument(exists=True, help="Class folders, a CSV, or images/ with labels/.")],
    max_: Annotated[list[str], Option("--max", help="Ceiling such as leaks=0: exit status 1 above it.")] = [],  # noqa: B006
    json_out: shared.Json = None,
    html: Annotated[Path | None, Option(help="HTML page with a map of the images to write.")] = None,
    details: Annotated[bool, Option("--details", help="Also list the files of each finding.")] = False,
    force: shared.Force = False,
) -> None:
    """Describe labeled data: counts, sizes, balance, near-duplicates, contradictory labels, leaks between splits."""
    from edgevid.evaluate.describe import describe
    from edgevid.evaluate.items import read_items

    check_outputs({"--json": (json_out, "JSON"), "--html": (html, "HTML")}, (data,), force=force)
    items, left_out = read_items(data)
    with progress_bar(data.name, len(items)) as bar:
        found = describe(items, left_out, progress=lambda: advance(bar))
    show(found, data.name, "", ([], max_), json_out, html, details)


@data_command.command("errors")
def errors(
    data: Annotated[Path | None, Argument(exists=True, help="Scores, features, skeletons, folder, CSV.")] = None,
    extractor: Annotated[str, Option(help="Feature or pose model that describes images and videos.")] = "",
    out: Annotated[Path, shared.out_option("Folder for the ranked CSV and the page.")] = Path("label-errors"),
    to_review: Annotated[Path | None, Option(help="Folder for `edgevid review`: the images of all listed.")] = None,
    compare: Annotated[Pair | None, Option(exists=True, help="Old labels, and what a review exported.")] = None,
    seed: Annotated[int, Option(help="Random seed of the folds.")] = 0,
    force: shared.Force = False,
) -> None:
    """List labels that may be wrong, the surest first; no label is changed. After a review, compare old and new."""
    from edgevid.insight.label_errors import compare_labels, errors_page, find_label_errors, out_of_fold, read_labeled
    from edgevid.video.images import thumbnail

    if compare:
        table = compare_labels(*compare)
        print_rows(results(), table[0], [["" if one is None else str(one) for one in row.values()] for row in table])
        return
    if data is None:
        raise InputError("data errors: expected DATA, or --compare OLD.csv NEW.csv, got neither")
    files = {f"--out {name}": (out / name, "") for name in ("label_errors.csv", "label_errors.html")}
    check_outputs(files, (data,), force=force)
    read = read_labeled(data, extractor)
    shares = read.probabilities
    shares = out_of_fold(read.features, read.labels, read.groups, seed=seed) if shares is None else shares
    found = find_label_errors(shares, read.labels, read.features)
    columns: Any = zip(found.rows.tolist(), found.kinds, found.suggested.tolist(), found.margin.tolist(), strict=True)
    rows = [(read.items[row], read.names[read.labels[row]], read.names[new], round(margin, 4), kind)
            for row, kind, new, margin in columns]  # fmt: skip
    write_text(out / "label_errors.csv", csv_text([("item", "label", "suggested", "margin", "kind"), *rows]))
    shown = (read.image(row) for row in found.rows[:SHOWN].tolist())
    images = [None if image is None else thumbnail(image, 160) for image in shown]
    write_text(out / "label_errors.html", errors_page(found, read, data.name, images))
    counts = ", ".join(f"{sum(one in kind for kind in found.kinds)} {one}" for one in ("label", "duplicate", "outlier"))
    results().print(f"{len(rows)} of {len(read.labels)} items are suspicious ({counts}); estimated share of wrong "
                    f"labels: {found.noise:.1%}. No label was changed.")  # fmt: skip
    if to_review:
        _to_review(to_review, read, found, shares)


def _to_review(folder: Path, read: Any, found: Any, shares: Any) -> None:
    """Writes each listed item as an object for review, as `edgevid run --save-abstained` does."""
    from edgevid.files.atomic import make_folder, write_atomic
    from edgevid.video.images import thumbnail

    make_folder(folder)
    for rank, (row, kind) in enumerate(zip(found.rows.tolist(), found.kinds, strict=True), 1):
        stem, item, image = f"00000000T000000000-label-{rank:06d}", read.items[row], read.image(row)
        about = {"task": "label", "track": rank, "reason": "DISAGREEMENT", "label": int(read.labels[row]),
                 "confidence": round(float(shares[row, read.labels[row]]), 6), "names": list(read.names),
                 "scores": shares[row].round(6).tolist(), "kind": kind, "camera": "label errors",
                 "source": os.path.abspath(item) if os.path.isfile(item) else item, "crop": f"{stem}.jpg"}  # fmt: skip
        if image is None:
            raise InputError(f"{item}: expected an image to review, got none; correct its label by the CSV")
        write_atomic(folder / f"{stem}.jpg", thumbnail(image, SIDE))
        write_atomic(folder / f"{stem}.json", json.dumps(about, ensure_ascii=False, indent=1))

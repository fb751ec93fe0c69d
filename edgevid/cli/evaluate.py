"""`edgevid evaluate`: quality on labeled data, each task in the same form: RESULTS --truth TRUTH; `edgevid data`: what
labeled data hold, and which of the labels may be wrong."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from edgevid.cli import options as shared
from edgevid.cli.console import advance, check_outputs, print_rows, progress_bar, results, write_json, write_text
from edgevid.errors import InputError, check_choice
from edgevid.files.cells import csv_text
from edgevid.files.toml import read_toml

if TYPE_CHECKING:
    from edgevid.evaluate.evaluation import Evaluation
    from edgevid.evaluate.items import Item

FAILED = 1  # Exit status where a limit is not kept; an error in the command is 2
command = typer.Typer(no_args_is_help=True, help="Measure quality on labeled data (docs/evaluate.md).")
HERE = Path(__file__).parent
TABLES = read_toml(HERE / "evaluate.toml")
TASKS = TABLES["tasks"]


def _evaluate(task: str, results: Any, truth: Path, **options: Any) -> Evaluation:
    """Calls the function of a task; a list of names is one text."""
    for key in options.keys() & {"classes", "kinds", "background"}:
        options[key] = shared.split_names(options[key], f"--{key}")
    found: Evaluation = resolve_name(f"edgevid.evaluate.{TASKS[task]['function']}")(results, truth, **options)
    return found


def _add(name: str, table: Any, function: Callable[..., Evaluation]) -> None:
    """A command of a table, with its options; it prints and writes the evaluation, and checks its limits."""

    def run(min_: list[str], max_: list[str], json_out: Path | None, html: Path | None, details: bool, force: bool,
            **given: Any) -> None:  # fmt: skip
        inputs = [one for key, one in given.items() if isinstance(one, (str, Path)) and key != "scores"]
        outputs = {"--json": (json_out, "JSON"), "--html": (html, "HTML"), "--scores": (given.get("scores"), "NPZ")}
        check_outputs(outputs, inputs, force=force)
        titles = [str(given[key]) for key in ("results", "a", "b") if key in given]
        show(function(**given), " and ".join(titles), str(given["truth"] or ""), (min_, max_), json_out, html, details)

    run.__doc__, options = table["text"], TABLES["options"]
    own = {key: options.get(key, {}) | one for key, one in table["options"].items()}
    shared.give_options(run, own, TABLES["common"])
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
                cells = [[cell(v, head) for v, head in zip(row, one.heads, strict=True)] for row in one.rows]
                words = [head for head, value in zip(one.heads, one.rows[0], strict=True) if is_word(value)]
                console.print()
                print_rows(console, one.heads, cells, text=words, title=title)
        for mark, texts in (("[yellow]note:[/]", found.all_notes()), ("[bold red]failed:[/]", failed)):
            for text in texts:
                console.print(f"{mark} {escape(text)}")
    if html is not None:
        write_text(html, page(found, figures, what, truth, sum(map(len, limits)), failed))
    raise typer.Exit(FAILED if failed else 0)


def _compare(a: Path, b: Path, truth: Path | None, task: str, policy: Path | None, policy_b: Path | None,
             groups: Path | None, tolerance_s: float) -> Evaluation:  # fmt: skip
    from edgevid.evaluate import evaluation, events, verdicts

    if truth is not None:
        check_choice(task, TASKS, "--task")
        return evaluation.compare(*(_evaluate(task, one, truth) for one in (a, b)))
    if a.suffix.lower() not in (".csv", ".npz"):
        return events.differ(a, b, tolerance_s=tolerance_s)
    one, two = verdicts.read_tracks(a, policy), verdicts.read_tracks(b, policy_b or policy)
    scenes = dict(row[:2] for row in csv.reader(groups.open(encoding="utf-8-sig")) if len(row) > 1) if groups else {}
    if groups and not scenes.keys() & set(one.items):
        raise InputError(f"{groups}: expected rows track,group with the tracks of {a}, got none of them")
    return verdicts.compare(one, two, [scenes.get(item, item) for item in one.items])


for _name, _task in TASKS.items():
    _add(_name, _task, partial(_evaluate, _name))
_add("compare", TABLES["compare"], _compare)

data_command = typer.Typer(no_args_is_help=True, help="Look into labeled data before it is trained on.")
SHOWN = 200  # Items on the page
SIDE = 512  # Pixels of the longer side of an image for review


@data_command.command("describe")
def describe_data(data: Path, max_: list[str], json_out: Path | None, html: Path | None, details: bool,
                  force: bool) -> None:  # fmt: skip
    """Describe labeled data: counts, sizes, balance, near-duplicates, contradictory labels, leaks between splits."""
    check_outputs({"--json": (json_out, "JSON"), "--html": (html, "HTML")}, (data,), force=force)
    show(described(data)[1], data.name, "", ([], max_), json_out, html, details)


def described(data: Path) -> tuple[list[Item], Evaluation]:
    """The labeled items of `data`, and what is found in them (docs/data.md)."""
    from edgevid.evaluate.describe import describe
    from edgevid.evaluate.items import read_items

    items, left_out = read_items(data)
    with progress_bar(data.name, len(items)) as bar:
        return items, describe(items, left_out, progress=lambda: advance(bar))


@data_command.command("errors")
def errors(data: Path | None, extractor: str, out: Path, to_review: Path | None, compare: tuple[Path, Path] | None,
           seed: int, force: bool) -> None:  # fmt: skip
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
                    f"labels: {found.noise:.1%}. No label was changed.", markup=False)  # fmt: skip
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

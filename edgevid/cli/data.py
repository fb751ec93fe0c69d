"""`edgevid data`: what a labeled data set holds, and which of its labels may be wrong."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import results
from edgevid.errors import InputError

command = typer.Typer(no_args_is_help=True, help="Look into labeled data before it is trained on.")
SHOWN = 200  # Items on the page
Pair = tuple[Path, Path]
SIDE = 512  # Pixels of the longer side of an image for review


@command.command("describe")
def describe_data(
    data: Annotated[Path, Argument(exists=True, help="Class folders, a CSV, or images/ with labels/.")],
    max_: Annotated[list[str], Option("--max", help="Ceiling such as leaks=0: exit status 1 above it.")] = [],  # noqa: B006
    json_out: shared.Json = None,
    html: Annotated[Path | None, Option(help="HTML page with a map of the images to write.")] = None,
    details: Annotated[bool, Option("--details", help="Also list the files of each finding.")] = False,
    force: shared.Force = False,
) -> None:
    """Describe labeled data: counts, sizes, balance, near-duplicates, contradictory labels, leaks between splits."""
    from edgevid.cli.console import advance, check_outputs, progress_bar
    from edgevid.cli.evaluate import show
    from edgevid.evaluate.describe import describe
    from edgevid.evaluate.items import read_items

    check_outputs({"--json": (json_out, "JSON"), "--html": (html, "HTML")}, (data,), force=force)
    items, left_out = read_items(data)
    with progress_bar(data.name, len(items)) as bar:
        found = describe(items, left_out, progress=lambda: advance(bar))
    show(found, data.name, "", ([], max_), json_out, html, details)


@command.command("errors")
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
    from edgevid.cli.console import check_outputs, print_rows, write_text
    from edgevid.cli.report import csv_text
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

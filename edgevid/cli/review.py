"""`edgevid review`, `improve` and `cluster`: people decide what the model was not sure of, and rate a sample of what it
emitted; their labels become a better model, or none; groups of tracks or of any time series, rare ones first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, show_written, write_text
from edgevid.cli.report import csv_text, moment
from edgevid.errors import require

if TYPE_CHECKING:
    from edgevid.insight import Clustering


def command(
    source: Annotated[Path, Argument(help="Folder of --save-abstained, or a database with verdicts.")],
    export: Annotated[Path | None, Option(help="Labels to write: .csv, .json (COCO), or a folder of videos.")] = None,
    audit: Annotated[bool, Option("--audit", help="Print what the sample certifies of all verdicts.")] = False,
    confidence: Annotated[float, Option(help="Of --audit, 0 to 1.")] = 0.95,
    camera: Annotated[str, Option(help="Only this camera.")] = "",
    after: Annotated[str | None, Option(help="From then on: 2026-01-31T12:00:00Z, or 7d ago.")] = None,
    rate: Annotated[float, Option(help="Of a database: share of emitted verdicts to audit.", min=0, max=1)] = 0.05,
    host: shared.Host = "127.0.0.1",
    port: shared.Port = None,
    browser: shared.Browser = True,
    force: shared.Force = False,
) -> None:
    """Review abstained and sampled verdicts in the browser: label, rate, export; audit the error rate."""
    from edgevid.insight import review as work
    from edgevid.types import utc_text

    if export:
        check_outputs({"--export": (export, "")}, [source], force=force)
    since = moment("--after", after)
    with work.Review(source, rate=rate, camera=camera, after=utc_text(since) if since else "") as review:
        if audit:
            texts = (row["text"] for row in review.rows("SELECT text FROM agreements"))
            results().print(work.audit_text(review, confidence), *texts, sep="\n", markup=False, highlight=False)
        if export:
            results().print(f"{work.export_labels(review, export)} labels", highlight=False)
            show_written(export)
        if not (audit or export):
            from edgevid.viewer.review import review_app
            from edgevid.viewer.serve import serve

            review.group()
            serve(review_app(review), purpose="The review page", host=host, port=port, open_browser=browser,
                  announce=lambda url: typer.echo(f"review page: {url}   (Ctrl-C ends it)"))  # fmt: skip


Source = Annotated[str, Argument(help="Database of edgevid, .parquet, .csv or postgresql://...")]
Count = Annotated[int | None, Option("--clusters", "-k", help="How many; 24 by default.", min=2, max=500)]
Column = "Column of {}, where a row is one value; the rows of a series stand together."


def cluster_command(
    source: Source,
    clusters: Count = None,
    id_column: Annotated[str, Option("--id", help=Column.format("the name of the series"))] = "",
    time_column: Annotated[str, Option("--time", help=Column.format("the time"))] = "",
    value_column: Annotated[str, Option("--value", help=Column.format("the value"))] = "",
    table: Annotated[str, Option(help="Table or query of PostgreSQL.")] = "",
    least: Annotated[float | None, Option("--min", help="Series with a value below are left out.")] = None,
    most: Annotated[float | None, Option("--max", help="Series with a value above are left out.")] = None,
    apply: Annotated[Path | None, Option(help="Label by the clusters of this file instead.")] = None,
    seed: Annotated[int, Option(help="Random seed.")] = 0,
    out: Annotated[Path, Option(help="Folder to write to.")] = Path("clusters"),
    force: shared.Force = False,
) -> None:
    """Cluster tracks or time series by the shape of their values, and show the rare groups first."""
    from edgevid.insight.cluster import cluster, page, read_clusters
    from edgevid.insight.sources import clips_of, read_series

    files = {name: out / name for name in ("clusters.toml", "series.csv", "clusters.html")}
    check_outputs({f"--out {name}": (path, "") for name, path in files.items()}, (source,), force=force)
    chunks = read_series(
        source, id_column=id_column, time_column=time_column, value_column=value_column, table=table,
        least=float("-inf") if least is None else least, most=float("inf") if most is None else most,
    )  # fmt: skip
    if apply is not None:
        known = read_clusters(apply)
        rows = [(i, *row) for c in chunks for i, *row in zip(c.ids, *known.assign(c.features), strict=True)]
        write_text(files["series.csv"], _csv(rows, known.names))
        return
    found = cluster(chunks, clusters, seed=seed)
    _show(found)
    clips = {one: os.path.relpath(clip, out) for one, clip in clips_of(source).items()}
    write_text(files["clusters.html"], page(found, Path(source).name if "://" not in source else table, clips))
    rows = list(zip(found.ids, found.labels.tolist(), found.distances.tolist(), strict=True))
    write_text(files["series.csv"], _csv(rows, found.clusters.names))
    found.clusters.save(files["clusters.toml"])


def _csv(rows: list[tuple[str, int, float]], names: tuple[str, ...]) -> str:
    cells = [
        (one, *((label, names[label]) if label >= 0 else ("", "")), f"{distance:.4f}") for one, label, distance in rows
    ]
    return csv_text([("id", "cluster", "name", "distance"), *cells])


def _show(found: Clustering) -> None:
    console, rows = results(), []
    for k in found.order.tolist():
        differs = ", ".join(f"{name} {value:+.1f}" for name, value in found.profile(k, 3))
        share = found.sizes[k] / found.sizes.sum()
        rows.append((str(k), f"{found.sizes[k]:,}", f"{share:.1%}", f"{found.stability[k]:.0%}", differs))
    heads = ("cluster", "series", "share", "found again", "differs in")
    print_rows(console, heads, rows, text=heads[-1:])
    console.print()
    for why, count in found.left_out.items():
        console.print(f"left out: {count:,} ({escape(why)})")
    console.print(found.advice(), markup=False)
    console.print(f"HDBSCAN on a sample finds {found.hdbscan[0]} clusters and {found.hdbscan[1]:.0%} outliers.")


def improve_command(
    recipe: Annotated[Path, Argument(help="Recipe of edgevid train actions: runs/actions/recipe.toml")],
    source: Annotated[Path, Option("--from", help="Folder or database that was reviewed.")],
    out: Annotated[Path, shared.out_option("Folder of every step.")] = Path("runs/improve"),
    deploy: Annotated[bool, Option(help="Replace the recipe's files where the new ones are better.")] = True,
    force: shared.Force = False,
) -> None:
    """Retrain a head with reviewed labels; deploy it only where it is shown to be better (else exit status 1)."""
    require("torch", extra="train", purpose="training")
    from edgevid.insight.improve import improve

    check_outputs({"--out": (out / "improve.json", "JSON")}, (recipe,), force=force)
    console = results(soft_wrap=False)
    log = improve(recipe, source, out, deploy=deploy, report=console.print)
    for name, value in log.items():
        if isinstance(value, dict) and "low" in value:
            a, b, gain, low, high = value.values()
            value = f"{a:.1%} before, {b:.1%} after: {gain:+.1%}, 95 % interval {low:+.1%} to {high:+.1%}"
        console.print(f"{name}: {value:.1%}" if isinstance(value, float) else f"{name}: {value}", markup=False)
    if not log["better"]:
        console.print("Not shown to be better: nothing was deployed.")
        raise typer.Exit(1)

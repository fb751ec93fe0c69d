"""`edgevid cluster`: groups of tracks or of any time series, rare ones first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, write_text
from edgevid.cli.report import csv_text

if TYPE_CHECKING:
    from edgevid.insight import Clustering

Source = Annotated[str, Argument(help="Database of edgevid, .parquet, .csv or postgresql://...")]
Count = Annotated[int | None, Option("--clusters", "-k", help="How many; 24 by default.", min=2, max=500)]
Column = "Column of {}, where a row is one value; the rows of a series stand together."


def command(
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
    from edgevid.insight import cluster, read_clusters, read_series

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
    from edgevid.insight.page import page
    from edgevid.insight.sources import clips_of

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
    from rich.markup import escape

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

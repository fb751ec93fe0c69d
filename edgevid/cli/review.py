"""`edgevid review`, `improve` and `cluster`: people decide what the model was not sure of, and rate a sample of what it
emitted; their labels become a better model, or none; groups of tracks or of any time series, rare ones first."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from edgevid.cli.console import check_outputs, print_rows, results, show_written, write_text
from edgevid.cli.options import serving
from edgevid.cli.report import moment
from edgevid.errors import require
from edgevid.files.cells import csv_text

if TYPE_CHECKING:
    from edgevid.insight import Clustering


def command(source: Path, export: Path | None, audit: bool, **options: Any) -> None:
    """Review abstained and sampled verdicts in the browser: label, rate, export; audit the error rate."""
    from edgevid.insight import review as work
    from edgevid.types import utc_text

    given = SimpleNamespace(**options)
    if export:
        check_outputs({"--export": (export, "")}, [source], force=given.force)
    since = utc_text(after) if (after := moment("--after", given.after)) else ""
    with work.Review(source, rate=given.rate, camera=given.camera, after=since) as review:
        if audit:
            texts = (row["text"] for row in review.rows("SELECT text FROM agreements"))
            results().print(work.audit_text(review, given.confidence), *texts, sep="\n", markup=False)
        if export:
            results().print(f"{work.export_labels(review, export)} labels", markup=False)
            show_written(export)
        if not (audit or export):
            from edgevid.viewer.review import review_app
            from edgevid.viewer.serve import serve

            review.group()
            serve(review_app(review), purpose="The review page", host=given.host, port=given.port,
                  open_browser=given.browser, **serving(given),
                  announce=lambda url: typer.echo(f"review page: {url}   (Ctrl-C ends it)"))  # fmt: skip


def cluster_command(source: str, clusters: int | None, apply: Path | None, seed: int, out: Path, force: bool,
                    **series: Any) -> None:  # fmt: skip
    """Cluster tracks or time series by the shape of their values, and show the rare groups first."""
    from edgevid.insight.cluster import cluster, page, read_clusters
    from edgevid.insight.sources import clips_of, read_series

    files = {name: out / name for name in ("clusters.toml", "series.csv", "clusters.html")}
    check_outputs({f"--out {name}": (path, "") for name, path in files.items()}, (source,), force=force)
    chunks = read_series(source, **{name: value for name, value in series.items() if value is not None})
    if apply is not None:
        known = read_clusters(apply)
        rows = [(i, *row) for c in chunks for i, *row in zip(c.ids, *known.assign(c.features), strict=True)]
        write_text(files["series.csv"], _csv(rows, known.names))
        return
    found = cluster(chunks, clusters, seed=seed)
    _show(found)
    clips = {one: os.path.relpath(clip, out) for one, clip in clips_of(source).items()}
    write_text(files["clusters.html"], page(found, series["table"] if "://" in source else Path(source).name, clips))
    rows = list(zip(found.ids, found.labels.tolist(), found.distances.tolist(), strict=True))
    write_text(files["series.csv"], _csv(rows, found.clusters.names))
    found.clusters.save(files["clusters.toml"])


def _csv(rows: list[tuple[str, int, float]], names: tuple[str, ...]) -> str:
    cells = [(one, *((label, names[label]) if label >= 0 else ("", "")), f"{distance:.4f}")
             for one, label, distance in rows]  # fmt: skip
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


def improve_command(recipe: Path, source: Path, out: Path, deploy: bool, force: bool) -> None:
    """Retrain a head with reviewed labels; deploy it only where it is shown to be better (else exit status 1)."""
    require("torch", extra="train", purpose="training")
    from edgevid.insight.improve import improve

    check_outputs({"--out": (out / "improve.json", "JSON")}, (recipe,), force=force)
    console = results(soft_wrap=False)
    log = improve(recipe, source, out, deploy=deploy, report=partial(console.print, markup=False))
    for name, value in log.items():
        if isinstance(value, dict) and "low" in value:
            a, b, gain, low, high = value.values()
            value = f"{a:.1%} before, {b:.1%} after: {gain:+.1%}, 95 % interval {low:+.1%} to {high:+.1%}"
        console.print(f"{name}: {value:.1%}" if isinstance(value, float) else f"{name}: {value}", markup=False)
    if not log["better"]:
        console.print("Not shown to be better: nothing was deployed.")
        raise typer.Exit(1)

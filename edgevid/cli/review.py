"""`edgevid review`: people decide what the model was not sure of, and rate a sample of what it emitted."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.calibrate import Host
from edgevid.cli.console import check_outputs, results, show_written
from edgevid.cli.report import moment


def command(
    source: Annotated[Path, Argument(help="Folder of --save-abstained, or a database with verdicts.")],
    export: Annotated[Path | None, Option(help="Labels to write: .csv, .json (COCO), or a folder of videos.")] = None,
    audit: Annotated[bool, Option("--audit", help="Print what the sample certifies of all verdicts.")] = False,
    confidence: Annotated[float, Option(help="Of --audit, 0 to 1.")] = 0.95,
    camera: Annotated[str, Option(help="Only this camera.")] = "",
    after: Annotated[str | None, Option(help="From then on: 2026-01-31T12:00:00Z, or 7d ago.")] = None,
    rate: Annotated[float, Option(help="Of a database: share of emitted verdicts to audit.", min=0, max=1)] = 0.05,
    host: Host = "127.0.0.1",
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

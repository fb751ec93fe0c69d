"""`edgevid archive`: every recording of a folder into Parquet files, on this machine or on a Ray cluster;
`edgevid fleet`: cameras on the machines of one."""

import time as clock
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from typer import Exit

from edgevid.cli import options as shared
from edgevid.cli.console import notes, print_rows, progress_bar, results
from edgevid.errors import SourceError

COLUMNS = ("name", "state", "node", "start", "fps", "frames", "dropped", "failures", "detail")
RAY_JOBS = 1000  # That wait in a cluster, which begins those that it has room for
LINE_S = 60.0  # Between two lines of progress without a terminal


def command(source: str, out: Path, site: Path | None, model: str | None, ray: str | None, **given: Any) -> None:
    """Bring every recording through a pipeline into Parquet files; the same command continues."""
    from edgevid.run.archive import alone, find_videos
    from edgevid.site.file import Site, read_site

    chosen = read_site(site) if site else Site()
    chosen = replace(chosen, model=shared.exported(model or chosen.model, ""))
    with alone(out):
        rows = _run(chosen, find_videos(source), out, ray, given)
    failed = [row for row in rows if row["error"]]
    length = timedelta(seconds=round(sum(row["seconds"] for row in rows)))
    results().print(f"done: {len(rows) - len(failed)}, {length} long, in {out}; failed: {len(failed)}", markup=False)
    if failed:
        reasons = [[row["video"], row["error"].removeprefix(f"{row['video']}: ")] for row in failed]
        print_rows(results(), ("failed", "reason"), reasons, text=("reason",))
        raise Exit(1)


def _run(site: Any, videos: list[Path], out: Path, ray: str | None, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Brings videos through the pipeline of a site; the rows of all, those of earlier runs first."""
    from edgevid.run.archive import local_processes, open_jobs, run_jobs
    from edgevid.run.ray_fleet import ray_processes
    from edgevid.runtime.processor import default_threads

    jobs, rows = open_jobs(site, videos, out, chunk_s=given["chunk_s"], retry_failed=given["retry_failed"])
    count = given["workers"] or (RAY_JOBS if ray else default_threads())
    cpus, gpus = given["worker_cpus"], given["worker_gpus"]
    made = ray_processes(ray, cpus=cpus, gpus=gpus) if ray else local_processes(count)
    left, size, frames, number, earlier = sum(job.row["bytes"] for job in jobs), 0, 0, len(jobs), len(rows)
    began = printed = clock.monotonic()
    with progress_bar("videos", number) as bar, made as submit:
        bar.columns = bar.columns[:-1]  # the time left goes by bytes
        for row in run_jobs(jobs, out, submit, count):
            if row:
                rows.append(row)
                left, frames = left - row["bytes"], frames + row["frames"]
                size += 0 if row["error"] else row["bytes"]
            now, done = clock.monotonic(), len(rows) - earlier
            fps, rest = frames / (now - began), timedelta(seconds=round((now - began) * left / size)) if size else "?"
            bar.update(bar.tasks[0].id, completed=done, fps=fps, description=f"videos, {rest} left")
            if not bar.console.is_terminal and now - printed >= LINE_S:
                printed = now
                notes().print(f"{done} of {number} videos, {fps:.0f} fps, {rest} left")
    return rows


def fleet_command(sites: list[Path], ray: str, **given: Any) -> None:
    """Run cameras on a Ray cluster, on other nodes where theirs are lost; status shows them, stop ends them."""
    from edgevid.run.ray_fleet import connect, place, statuses, stop

    cluster = connect(ray)
    if sites == [Path("stop")]:
        stop(cluster)
    elif sites != [Path("status")]:
        place(cluster, sites, **given)
    rows = statuses(cluster)
    cells = ([row.get(name, "") for name in COLUMNS] for row in rows)
    text = [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in some] for some in cells]
    print_rows(results(), COLUMNS, text, text=("state", "detail"))
    if outside := [row["name"] for row in rows if "node" not in row]:
        raise SourceError(f"not running: {', '.join(outside)}: where no node has room, add one, then place them again")

"""`edgevid archive`: every recording of a folder into Parquet files, on this machine or on a Ray cluster;
`edgevid fleet`: cameras on the machines of one."""

import time as clock
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from typer import Argument, Exit, Option

from edgevid.cli import options as shared
from edgevid.cli.console import notes, print_rows, progress_bar, results
from edgevid.errors import SourceError

Source = Annotated[str, Argument(help="Folder, list (a path a line) or glob of videos.")]
Workers = Annotated[int | None, Option(help="Videos at a time; default: one a processor.", min=1)]
Sites = Annotated[list[Path], Argument(help="Site files, folders of them; or one word: status, or stop.")]
COLUMNS = ("name", "state", "node", "start", "fps", "frames", "dropped", "failures", "detail")
RAY_JOBS = 1000  # That wait in a cluster, which begins those that it has room for
LINE_S = 60.0  # Between two lines of progress without a terminal


def command(
    source: Source,
    out: Annotated[Path, shared.out_option("Folder of the results; those in it stay.")],
    site: Annotated[Path | None, Option(help="Site file (TOML) of the camera.")] = None,
    model: shared.Model = None, workers: Workers = None,
    ray: Annotated[str | None, Option(help="Address of a Ray cluster: auto, or HOST:6379.")] = None,
    worker_cpus: Annotated[float, Option(help="With --ray: processors of a worker.", min=0)] = 1.0,
    worker_gpus: Annotated[float, Option(help="With --ray: devices of a worker, such as 0.25.", min=0)] = 0.0,
    chunk_s: Annotated[float, Option(help="Seconds of the chunks of a long video.", min=1)] = 600.0,
    retry_failed: Annotated[bool, Option("--retry-failed", help="Try those that failed again.")] = False,
) -> None:  # fmt: skip
    """Bring every recording through a pipeline into Parquet files; the same command continues."""
    from edgevid.run.archive import find_videos, local_processes, open_jobs, run_jobs
    from edgevid.run.ray_fleet import ray_processes
    from edgevid.runtime.processor import default_threads
    from edgevid.site.file import Site, read_site

    chosen = read_site(site) if site else Site()
    chosen = replace(chosen, model=shared.exported(model or chosen.model, ""))
    jobs, rows = open_jobs(chosen, find_videos(source), out, chunk_s=chunk_s, retry_failed=retry_failed)
    count = workers or (RAY_JOBS if ray else default_threads())
    made = ray_processes(ray, cpus=worker_cpus, gpus=worker_gpus) if ray else local_processes(count)
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
    failed, length = (
        [row for row in rows if row["error"]],
        timedelta(seconds=round(sum(row["seconds"] for row in rows))),
    )
    results().print(f"done: {len(rows) - len(failed)}, {length} long, in {out}; failed: {len(failed)}", markup=False)
    if failed:
        reasons = [[escape(row["video"]), escape(row["error"].removeprefix(f"{row['video']}: "))] for row in failed]
        print_rows(results(), ("failed", "reason"), reasons, text=("reason",))
        raise Exit(1)


def fleet_command(
    sites: Sites,
    ray: Annotated[str, Option(help="Address of the Ray cluster: auto, or HOST:6379.")] = "auto",
    shared: Annotated[Path | None, Option(help="Folder that all nodes have, for events that wait.")] = None,
    cpus: Annotated[float, Option(help="Processors of a camera.", min=0)] = 1.0,
    gpus: Annotated[float, Option(help="Devices of a camera, such as 0.25.", min=0)] = 0.0,
) -> None:
    """Run cameras on a Ray cluster, on other nodes where theirs are lost; status shows them, stop ends them."""
    from edgevid.run.ray_fleet import connect, place, statuses, stop

    cluster = connect(ray)
    if sites == [Path("stop")]:
        stop(cluster)
    elif sites != [Path("status")]:
        place(cluster, sites, shared=shared, cpus=cpus, gpus=gpus)
    rows = statuses(cluster)
    cells = ([row.get(name, "") for name in COLUMNS] for row in rows)
    text = [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in some] for some in cells]
    print_rows(results(), COLUMNS, text, text=("state", "detail"))
    if outside := [row["name"] for row in rows if "node" not in row]:
        raise SourceError(f"not running: {', '.join(outside)}: where no node has room, add one, then place them again")

"""`edgevid fleet`: cameras on the machines of a Ray cluster."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from edgevid.cli.console import print_rows, results
from edgevid.errors import SourceError

Sites = Annotated[list[Path], Argument(help="Site files, folders of them; or one word: status, or stop.")]
COLUMNS = ("name", "state", "node", "start", "fps", "frames", "dropped", "failures", "detail")


def command(
    sites: Sites,
    ray: Annotated[str, Option(help="Address of the Ray cluster: auto, or HOST:6379.")] = "auto",
    shared: Annotated[Path | None, Option(help="Folder that all nodes have, for events that wait.")] = None,
    cpus: Annotated[float, Option(help="Processors of a camera.", min=0)] = 1.0,
    gpus: Annotated[float, Option(help="Devices of a camera, such as 0.25.", min=0)] = 0.0,
) -> None:
    """Run cameras on a Ray cluster, on other nodes where theirs are lost; status shows them, stop ends them."""
    from edgevid.run.ray_fleet import place, statuses, stop
    from edgevid.run.ray_workers import connect

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

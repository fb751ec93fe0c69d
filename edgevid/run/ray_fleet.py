"""A Ray cluster: its connection, a fleet on it, where each camera is an actor that Ray starts again on another node
when its own is lost, and the jobs of an archive on its nodes."""

import os
import signal
import socket
import threading
import time as clock
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgevid.errors import SourceError, require
from edgevid.files import read_toml, sha256, write_atomic
from edgevid.files.folders import SPOOL
from edgevid.run.archive import ATTEMPTS, Job, Row, process
from edgevid.run.fleet import Fleet
from edgevid.site.file import Site, read_site

ANSWER_S, START_S = 5.0, 60.0


def connect(address: str) -> Any:
    """The module ray, connected to a cluster; SourceError where none is at `address`, MissingExtraError without ray."""
    ray: Any = require("ray", extra="ray", purpose="A cluster")
    (host, _, port), handler = address.rpartition(":"), signal.getsignal(signal.SIGTERM)
    here = os.getcwd()
    try:
        if host and port.isdecimal():  # Ray would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        os.chdir(Path(__file__).parents[2])  # workers import from the current folder, where other sources may lie
        ray.init(address, namespace="edgevid", logging_level="ERROR", log_to_driver=False, ignore_reinit_error=True)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end the program before its outputs are finished
    except OSError as error:
        raise SourceError(f"{address}: there is no Ray cluster ({error}); start one by `ray start --head`") from None
    finally:
        os.chdir(here)
    return ray


class CameraActor:
    """One camera, in a process of its own on some node."""

    def __init__(self, site: Site, shared: Path | None, threads: int) -> None:
        """Runs the site; events that wait for sinks are in the folder `shared`, where every node has it."""
        self._context = require("ray", extra="ray", purpose="A cluster").get_runtime_context()
        mark, self.start = shared and shared / f"{site.name}.node", "first"
        if self._context.was_current_actor_reconstructed:
            self.start = "continues" if mark and mark.exists() else "again"
        if mark:
            os.environ[SPOOL] = str(mark.parent / "spool")
            write_atomic(mark, self._context.get_node_id())
        self._fleet = Fleet([site], threads=threads)
        self._fleet.reload()

    def status(self) -> dict[str, Any]:
        """What it does now, and where."""
        node = f"{socket.gethostname()} {self._context.get_node_id()[:8]}"
        return {"node": node, "start": self.start, **self._fleet.cameras[0].status()._asdict()}

    def stop(self) -> None:
        """Finishes its outputs."""
        self._fleet.close()


def place(ray: Any, files: Iterable[Path], *, shared: Path | None = None, cpus: float = 1.0, gpus: float = 0.0) -> None:
    """Makes the cameras of a cluster those of site files, and of folders of them: new ones start on nodes with `cpus`
    and `gpus` free, those of other files end, and those of changed files start again; the others go on. Waits until
    they have started, for up to a minute."""
    wanted = dict[str, Site]()
    for path in [one for file in files for one in (sorted(file.glob("*.toml")) if file.is_dir() else [file])]:
        if "source" in read_toml(path):
            site = read_site(path.absolute())
            wanted[f"{site.name} {sha256(repr((site, shared, cpus, gpus)))[:8]}"] = site
    known = set(ray.util.list_named_actors())
    stop(ray, wanted)
    for name in wanted.keys() - known:
        options = {"name": name, "num_cpus": cpus, "num_gpus": gpus, "max_restarts": -1, "lifetime": "detached"}
        actor = ray.remote(CameraActor).options(**options, scheduling_strategy="SPREAD")
        actor.remote(wanted[name], shared and shared.absolute(), max(1, int(cpus)))
    end = clock.monotonic() + START_S
    while clock.monotonic() < end and sum("node" in row for row in statuses(ray)) < len(wanted):
        clock.sleep(0.5)


def stop(ray: Any, wanted: Collection[str] = ()) -> None:
    """Ends the cameras that are not `wanted`; those that answer finish their outputs."""
    names = [name for name in ray.util.list_named_actors() if name not in wanted]
    _ask(ray, names, "stop")
    for name in names:
        ray.kill(ray.get_actor(name))


def statuses(ray: Any) -> list[dict[str, Any]]:
    """What each camera does now; of one that does not answer, which starts or has no room, its name and "state"."""
    names = sorted(ray.util.list_named_actors())
    rows = zip(names, _ask(ray, names, "status"), strict=True)
    return [{"name": name.rpartition(" ")[0]} | (row or {"state": "starts, or waits for room"}) for name, row in rows]


def _ask(ray: Any, names: Sequence[str], method: str) -> list[Any]:
    """What cameras answer, None of those that do not in time."""

    def answer(name: str) -> Any:
        with suppress(ray.exceptions.RayError):
            return ray.get(getattr(ray.get_actor(name), method).remote(), timeout=ANSWER_S)

    with ThreadPoolExecutor(max(1, len(names))) as threads:
        return list(threads.map(answer, names))


@contextmanager
def ray_processes(address: str, *, cpus: float = 1.0, gpus: float = 0.0) -> Iterator[Callable[[Job], Future[Row]]]:
    """Submits jobs to a cluster, each to a node that has `cpus` processors and `gpus` devices free. The videos, the
    results and the files of the site have the same paths on every node."""
    ray = connect(address)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=ATTEMPTS - 1)(process)
    yield lambda job: task.remote(job).future()

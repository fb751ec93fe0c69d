"""A Ray cluster: its connection, and the jobs of an archive on its nodes."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from edgevid.errors import SourceError, require
from edgevid.run.archive import ATTEMPTS, Job, Row, process


def connect(address: str) -> Any:
    """The module ray, connected to a cluster; SourceError where none is at `address`, MissingExtraError without ray."""
    ray: Any = require("ray", extra="ray", purpose="A cluster")
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdecimal():  # Ray would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, namespace="edgevid", logging_level="ERROR", log_to_driver=False, ignore_reinit_error=True)
    except OSError as error:
        raise SourceError(f"{address}: there is no Ray cluster ({error}); start one by `ray start --head`") from None
    return ray


@contextmanager
def ray_processes(address: str, *, cpus: float = 1.0, gpus: float = 0.0) -> Iterator[Callable[[Job], Future[Row]]]:
    """Submits jobs to a cluster, each to a node that has `cpus` processors and `gpus` devices free. The videos, the
    results and the files of the site have the same paths on every node."""
    ray = connect(address)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=ATTEMPTS - 1)(process)
    yield lambda job: task.remote(job).future()

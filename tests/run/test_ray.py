"""Archives and cameras on a Ray cluster of two nodes on this machine; one of them is killed."""

from __future__ import annotations

import re
import signal
import time as clock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner
from web_server import serving

from edgevid.cli import app
from edgevid.run.archive import find_videos, open_jobs, process, run_jobs
from edgevid.run.ray_fleet import connect, ray_processes, statuses
from edgevid.site.file import Site
from edgevid.synthetic.render import RenderedStreet
from edgevid.video.images import to_jpeg
from edgevid.video.writer import VideoWriter

pytest.importorskip("ray", reason="ray is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")
SITE = Site(model="street-nano")
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
QUICK = {"RAY_health_check_period_ms": "300", "RAY_health_check_initial_delay_ms": "0", "RAY_worker_niceness": "0"}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head and another node, each with one CPU."""
    import ray
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        made.second = made.add_node(**NODE)
        try:
            yield made
        finally:
            signal.signal(signal.SIGTERM, before)  # each node that is added sets its own
            ray.shutdown()
            made.shutdown()


def command(*arguments: object) -> str:
    done = CliRunner().invoke(app(), ["fleet", *map(str, arguments)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    return done.output


def running(ray: Any, count: int) -> dict[str, dict[str, Any]]:
    """The cameras by name, when so many have results."""
    end = clock.monotonic() + 60
    while clock.monotonic() < end:
        rows = {row["name"]: row for row in statuses(ray)}
        if sum(row.get("frames", 0) > 0 for row in rows.values()) == count:
            return rows
        clock.sleep(0.1)
    raise AssertionError(rows)


def film(handler: Any) -> None:
    """A camera of 10 frames per second, as Motion JPEG."""
    image = to_jpeg(np.full((64, 96, 3), 90, np.uint8))
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
    handler.end_headers()
    while True:  # until its client goes
        head = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(image)
        handler.wfile.write(head + image + b"\r\n")
        clock.sleep(0.1)


@pytest.fixture
def camera() -> Iterator[str]:
    with serving(film) as address:
        yield f"{address}/road.mjpg"


def test_a_camera_continues_on_another_node(cluster: Any, tmp_path: Path, camera: str) -> None:
    for name in ("gate", "yard"):
        table = f'[[sink]]\ntype = "sqlite"\npath = "{name}.db"\n'
        (tmp_path / f"{name}.toml").write_text(f'source = "{camera}"\n[detect]\nmodel = "street-nano"\n{table}')
    address = ("--ray", cluster.address)
    placed = (*address, "--shared", tmp_path / "shared", "--cpus", 0.5)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert re.search("gate .*\n.*yard ", command(tmp_path, *placed))
    ray = connect(cluster.address)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a connection leaves the program its signals
    before = running(ray, 2)
    assert len({row["node"] for row in before.values()}) == 2
    assert {row["start"] for row in before.values()} == {"first"}
    stays, moves = sorted(before, key=lambda name: cluster.second.node_id.startswith(before[name]["node"].split()[1]))
    cluster.remove_node(cluster.second)
    after = running(ray, 2)
    assert (after[moves]["node"], after[moves]["start"]) == (before[stays]["node"], "continues")
    assert after[stays]["frames"] > before[stays]["frames"]
    assert list((tmp_path / "shared" / "spool").iterdir())
    command(tmp_path / f"{stays}.toml", *placed)
    assert moves not in command("status", *address)
    assert running(ray, 1)[stays]["frames"] >= after[stays]["frames"]  # it was not touched
    command("stop", *address)
    assert statuses(ray) == []


def test_a_node_that_is_killed_costs_no_result(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(**NODE)
    for n in range(6):
        with VideoWriter(tmp_path / f"{n}.mp4", fps=10) as video:
            for frame in RenderedStreet(seconds=0.5, fps=10):
                video.write(frame.image[::4, ::4].copy(), frame.time)
    jobs, _ = open_jobs(SITE, find_videos(tmp_path), tmp_path / "here")
    alone = [process(job) for job in jobs]
    jobs, _ = open_jobs(SITE, find_videos(tmp_path), tmp_path / "ray")
    rows = []
    with ray_processes(cluster.address) as submit:
        for row in run_jobs(jobs, tmp_path / "ray", submit, 6):
            if row and not rows:
                cluster.remove_node(node)
            rows += [row] if row else []
    assert sorted(map(str, rows)) == sorted(map(str, alone))
    for file in (tmp_path / "here").rglob("*/*"):
        assert (tmp_path / "ray" / file.relative_to(tmp_path / "here")).read_bytes() == file.read_bytes()

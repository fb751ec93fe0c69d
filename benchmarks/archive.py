"""An archive of 60 videos by processes and on Ray; what is left when nodes and drivers are killed; cameras that move.

    python benchmarks/archive.py                        everything, about ten minutes on two idle cores
    python benchmarks/archive.py --only workers cut     some of: workers cut ray resume cameras

The videos are pieces of up to four seconds of six real clips. Nodes are raylets on this machine, each with one CPU; a
kill is SIGKILL. Results are equal where every file has the same bytes. Ray gives its workers a niceness of 15; here
they have none, so that another load on the machine does not count twice.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice, repeat, takewhile
from pathlib import Path
from typing import Any

from bench import RESULTS, conditions, save
from field_clip import CLIPS, EDGEVID, environment

from edgevid.errors import module_version
from edgevid.types.event import HEADER_SCHEMA as HEADER
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter

NAMES = ("felix_exercise.avi", "intel_car-detection.mp4", "intel_one-by-one-person-detection.mp4",
         "kraten_speedcheck_cars.mp4", "pets09_s2l1_vtest.avi", "vehicle_counting_tf_input.mp4")  # fmt: skip
MODEL, COUNT, PIECE_S = "street-nano", 60, 4.0
QUICK = {"RAY_health_check_initial_delay_ms": "0", "RAY_health_check_period_ms": "400",
         "RAY_health_check_timeout_ms": "1000"}  # fmt: skip
"""The settings that docs/fleet.md gives."""


def cut_videos(folder: Path) -> None:
    """COUNT pieces of the clips, which begin again at their end."""
    sources = [chain.from_iterable(map(open_video, repeat(CLIPS / name))) for name in NAMES]
    for number in range(COUNT):
        frames = sources[number % len(NAMES)]
        first = next(frames)
        with VideoWriter(folder / f"{number:02d}.mp4", fps=25) as video:
            video.write(first.image, 0.0)
            for frame in takewhile(lambda frame, first=first: 0 < frame.time - first.time < PIECE_S, frames):
                video.write(frame.image, frame.time - first.time)


def start(videos: Path, out: Path, *options: object) -> subprocess.Popen[bytes]:
    command = [*EDGEVID, "archive", videos, "--out", out, "--model", MODEL, *options]
    return subprocess.Popen(
        list(map(str, command)), env=environment() | {"OMP_NUM_THREADS": "1"}, start_new_session=True
    )


def seconds_of(videos: Path, out: Path, *options: object) -> dict[str, float]:
    """Wall and CPU seconds of a whole run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = start(videos, out, *options)
    assert process.wait() == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall s": round(time.perf_counter() - began, 2), "CPU s": round(cpu, 2)}


def results(out: Path) -> list[Path]:
    return list(out.glob("*/video.json"))


def wait_for(condition: Callable[[], Any], within_s: float = 300.0) -> Any:
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def judged(out: Path, plain: Path) -> dict[str, Any]:
    """What there is, and whether it is what the plain run gave."""
    rows = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    files = [path.relative_to(plain) for path in plain.rglob("*") if path.is_file()]
    return {
        "results": len(results(out)),
        "videos in the index": len({row["video"] for row in rows}),
        "rows of the index": len(rows),
        "failed": sum(bool(row["error"]) for row in rows),
        "left over": len(list(out.glob(".*"))),
        "files": len(files),
        "equal to the bit": sum((out / one).read_bytes() == (plain / one).read_bytes() for one in files),
    }


@contextmanager
def cluster(nodes: int, **settings: str) -> Iterator[tuple[Any, list[Any]]]:
    """A head that takes no work, and nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    kept, options = dict(os.environ), {"object_store_memory": 80_000_000}
    os.environ.update({"RAY_worker_niceness": "0", **settings})
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
    try:
        yield made, [made.add_node(num_cpus=1, **options) for _ in range(nodes)]
    finally:
        made.shutdown()
        os.environ.clear()
        os.environ.update(kept)


def workers(folder: Path) -> dict[str, Any]:
    """One and two processes, in turns."""
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for count in (1, 2, 2, 1):
        shutil.rmtree(folder / "timed", ignore_errors=True)
        runs[count].append(seconds_of(folder / "videos", folder / "timed", "--workers", count))
    best = {count: min(run["wall s"] for run in some) for count, some in runs.items()}
    return {"runs": runs, "speed-up from 1 to 2": round(best[1] / best[2], 3)}


def cut(folder: Path) -> dict[str, Any]:
    """Long videos, whole and in chunks of ten seconds."""
    found: dict[str, Any] = {}
    for name in ("felix_exercise.avi", "pets09_s2l1_vtest.avi", "kraten_speedcheck_cars.mp4"):
        for out, options in (("whole", ()), ("cut", ("--chunk-s", 10))):
            shutil.rmtree(folder / out, ignore_errors=True)
            found.setdefault(name, {})[out] = seconds_of(CLIPS / name, folder / out, "--workers", 2, *options)
        found[name] |= judged(folder / "cut", folder / "whole")
    return found


def on_ray(folder: Path) -> dict[str, Any]:
    """Three nodes, of which one is killed when a third of the results are there."""
    out = folder / "ray"
    with cluster(3) as (made, nodes):
        process = start(folder / "videos", out, "--ray", made.address)
        wait_for(lambda: len(results(out)) >= COUNT // 3)
        made.remove_node(nodes[0])
        assert process.wait(600) == 0
    return judged(out, folder / "plain")


def resume(folder: Path) -> dict[str, Any]:
    """The driver is killed when a third of the results are there; the same command continues."""
    found = {}
    with cluster(2) as (made, _):
        for name, options in (("processes", ("--workers", 2)), ("ray", ("--ray", made.address))):
            out = folder / f"resumed-{name}"
            process = start(folder / "videos", out, *options)
            wait_for(lambda out=out: len(results(out)) >= COUNT // 3)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            group = process.pid
            wait_for(
                lambda group=group: subprocess.run(["pgrep", "-g", str(group)], stdout=subprocess.DEVNULL).returncode
            )
            kept = len(results(out))
            assert start(folder / "videos", out, *options).wait(600) == 0
            found[name] = {"results when it was killed": kept, **judged(out, folder / "plain")}
    return found


def cameras(folder: Path, repeats: int = 3) -> dict[str, Any]:
    """Seconds from the death of a raylet until its camera runs, and has results, on another node."""
    import ray

    from edgevid.run.ray_fleet import connect, place, stop

    found: dict[str, Any] = {}
    with VideoWriter(folder / "long.mp4", fps=25) as video, open_video(CLIPS / "intel_car-detection.mp4") as clip:
        frames = [frame.image for frame in islice(clip, 50)]
        for n in range(4000):
            video.write(frames[n % 50], n / 25)
    site, records, mark = folder / "gate.toml", folder / "gate.jsonl", folder / "shared" / "gate.node"
    sink = f'[[sink]]\ntype = "jsonl"\npath = "{records.name}"\n'
    site.write_text(f'source = "long.mp4"\n[detect]\nmodel = "{MODEL}"\n{sink}')

    def runs() -> list[str]:
        """The runs that have results, the latest one last."""
        lines = records.read_text().split(HEADER)[1:] if records.exists() else []
        return [one for one in lines if "edgevid.result" in one]

    for name, settings in (("Ray's defaults", {}), ("docs/fleet.md", QUICK)):
        for _ in range(repeats):
            records.unlink(missing_ok=True)
            with cluster(2, **settings) as (made, nodes):
                connected = connect(made.address)
                place(connected, [site], shared=folder / "shared", cpus=1)
                wait_for(runs)
                first = mark.read_text()
                (lost,) = (node for node in nodes if node.node_id == first)
                began = time.perf_counter()
                os.kill(lost.all_processes["raylet"][0].process.pid, signal.SIGKILL)
                wait_for(lambda first=first: mark.read_text() != first, 120)
                times = {"runs": round(time.perf_counter() - began, 2)}
                wait_for(lambda: len(runs()) > 1, 120)
                times["results"] = round(time.perf_counter() - began, 2)
                found.setdefault(name, []).append(times)
                print(name, times, flush=True)
                stop(connected)
                ray.shutdown()
    return {name: {"s": some, "longest": {k: max(t[k] for t in some) for k in some[0]}} for name, some in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts: dict[str, Callable[[Path], Any]] = {
        "workers": workers,
        "cut": cut,
        "ray": on_ray,
        "resume": resume,
        "cameras": cameras,
    }
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    chosen = parser.parse_args().only
    kept = RESULTS / "archive.json"
    result = json.loads(kept.read_text()) if kept.exists() else {}
    result.pop("conditions", None)
    where = conditions({name: module_version(name) for name in ("edgevid", "onnxruntime", "av", "pyarrow", "ray")})
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "videos").mkdir()
        cut_videos(folder / "videos")
        if {"ray", "resume"} & set(chosen):
            seconds_of(folder / "videos", folder / "plain", "--workers", 2)
        for name in chosen:
            result[name] = parts[name](folder)
            print(name, json.dumps(result[name], indent=1), flush=True)
    result["videos"] = {"count": COUNT, "seconds each, at most": PIECE_S, "clips": NAMES, "model": MODEL}
    print("written:", save("archive", result, where))


if __name__ == "__main__":
    sys.exit(main())

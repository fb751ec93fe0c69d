"""Events: the same set in every sink, after kills too; what they cost the loop; how soon a sink has them.

    python benchmarks/sinks.py                         50 kills, 20 s per round of timing
    python benchmarks/sinks.py --kills 10 --only kills --json found.json     what the tests run

Kills: a program plays the rendered street, each time with other events, into JSON lines, SQLite and Parquet,
and is killed (SIGKILL) at a random moment. The last run ends by itself. Then every sink must have the same
events in the same order, each once, those of each run numbered without a gap, and everything that any sink or
the spool had before a kill.

Cost: 2 events per frame at 50 fps, with sinks and without, in turns; the time that the loop needs per frame.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table

from edgevid.output.lines import read_lines
from edgevid.output.records import read_events
from edgevid.output.sinks import EventLines, JsonLines
from edgevid.output.sqlite import SqliteSink, read_database
from edgevid.run.loop import run
from edgevid.types import Detections, Event, Frame, Result, Tracks
from edgevid.zones import ZoneEvent

try:
    import pyarrow.parquet as parquet
except ImportError:
    parquet = None

WRITER = """
import sys
from pathlib import Path
from edgevid.output.sinks import EventLines
from edgevid.output.sqlite import SqliteSink
from edgevid.pipeline import Pipeline
from edgevid.run.loop import run
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.track import Tracker
from edgevid.types import Header
from edgevid.zones import Line, Zone, ZoneMonitor
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
street = RenderedStreet(seconds=seconds)
zone = Zone("middle", [(200, 200), (1000, 200), (1000, 700), (200, 700)], dwell_s=1)
zones = ZoneMonitor([zone], [Line("across", (0, 400), (1280, 400))])
sinks = [EventLines(folder / "events.jsonl", append=True), SqliteSink(folder / "events.db")]
if len(sys.argv) > 3:
    from edgevid.output.parquet import ParquetSink
    sinks.append(ParquetSink(folder / "parquet", segment_s=1))
print("up", flush=True)
run(Pipeline(RenderedDetector(street), Tracker()), street, sinks, zones=zones, header=Header("gate"))
"""


def write(folder: Path, seconds: float, kill_after: float | None = None) -> None:
    """One run of the program, killed after some seconds."""
    call = [sys.executable, "-c", WRITER, str(folder), str(seconds), *(["parquet"] if parquet else [])]
    environment = {**os.environ, "EDGEVID_SPOOL": str(folder / "spool"), "OMP_WAIT_POLICY": "passive"}
    with subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, cwd=folder) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        if kill_after is not None:
            time.sleep(kill_after)
            program.kill()
        program.wait(timeout=120)
    assert kill_after is not None or program.returncode == 0


def in_sinks(folder: Path) -> dict[str, list[str]]:
    """The ids in each sink, in its order."""
    found = {
        "SQLite": [
            row["id"] for row in read_database(folder / "events.db", "SELECT id FROM events ORDER BY rowid")
        ]
    }
    if (folder / "events.jsonl").exists():
        found["JSON lines"] = [event.id for event in read_events(folder / "events.jsonl")]
    if parquet:
        files = sorted((folder / "parquet").glob("events-*.parquet"))
        found["Parquet"] = [i for file in files for i in parquet.read_table(file)["id"].to_pylist()]
    return found


def kills(count: int) -> dict[str, Any]:
    """Kills the program `count` times, and compares the sinks."""
    chance, durable, killed_with = random.Random(1), set[str](), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(count):
            write(folder, 60, kill_after=chance.uniform(0.05, 1.5))
            waiting = [one["id"] for path in folder.glob("spool/*/*.jsonl") for _, one in read_lines(path)]
            durable |= {i for ids in in_sinks(folder).values() for i in ids} | set(waiting)
            killed_with += bool(waiting)
        write(folder, 1)
        sinks = in_sinks(folder)
    ids = sinks["SQLite"]
    runs: dict[str, list[int]] = {}
    for i in ids:
        run_name, _, number = i.rpartition("-")
        runs.setdefault(run_name, []).append(int(number))
    return {
        "kills": count,
        "events": len(ids),
        "kills with events in the spool": killed_with,
        "runs": len(runs),
        "lost": {name: len(durable - set(found)) for name, found in sinks.items()},
        "twice": {name: len(found) - len(set(found)) for name, found in sinks.items()},
        "other order": {name: found != ids for name, found in sinks.items()},
        "gaps": sum(numbers != list(range(1, len(numbers) + 1)) for numbers in runs.values()),
    }


class FixedPipeline:
    """Returns the same 20 tracks for each frame."""

    def __init__(self) -> None:
        ids = np.arange(1, 21)
        boxes = np.stack([ids * 10, ids * 5, ids * 10 + 40, ids * 5 + 30], 1)
        self.tracks = Tracks.of(ids=ids, boxes=boxes, scores=ids * 0 + 0.9, labels=ids * 0, match=ids - 1,
                                age=ids, unseen=ids * 0)  # fmt: skip

    def process(self, frame: Frame) -> Result:
        return Result(frame.index, frame.time, frame.size, Detections.empty(), self.tracks)

    def resize(self, size: tuple[int, int]) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


class TwoCrossings:
    """Two events per frame."""

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]:
        return [ZoneEvent(time, "cross", "gate", number, 0, "forward") for number in (3, 7)]

    def resize(self, size: tuple[int, int]) -> None:
        raise AssertionError


class Subscriber:
    """Notes how old each event is when a sink gets it."""

    name = "subscriber"

    def __init__(self) -> None:
        self.ages: list[float] = []

    def send(self, events: Sequence[Event]) -> None:
        now = time.perf_counter()
        self.ages += [now - event.time_s for event in events if event.kind == "cross"]

    def close(self) -> None:
        pass


def paced(seconds: float, busy: list[tuple[float, float]]) -> Iterator[Frame]:
    """Frames at 50 fps; notes the time and the CPU time that the loop takes for each."""
    image, started = np.zeros((360, 640, 3), np.uint8), time.perf_counter()
    for index in range(int(seconds * 50)):
        time.sleep(max(0.0, started + index / 50 - time.perf_counter()))
        before, cpu = time.perf_counter(), time.thread_time()
        frame = Frame(image, before, index)
        yield frame
        busy.append((time.perf_counter() - before, time.thread_time() - cpu))


def cost(seconds: float, rounds: int) -> dict[str, Any]:
    """p50 and p99 of the loop's time and CPU time per frame in ms, and the ages of events in a sink."""
    times: dict[str, list[tuple[float, float]]] = {"no sinks": [], "sinks of events": [], "and records": []}
    ages: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["EDGEVID_SPOOL"] = f"{name}/spool"
        for number in range(rounds):
            for case, busy in times.items():
                sinks: list[Any] = []
                folder = Path(name) / f"{case}-{number}"
                folder.mkdir()
                if case != "no sinks":
                    sinks = [EventLines(folder / "e.jsonl"), SqliteSink(folder / "e.db"), Subscriber()]
                if case == "and records":
                    sinks.append(JsonLines(folder / "r.jsonl"))
                run(FixedPipeline(), paced(seconds, busy), sinks, zones=TwoCrossings())
                ages += [age for sink in sinks if isinstance(sink, Subscriber) for age in sink.ages]
    found = {}
    for case, busy in times.items():
        wall, cpu = 1000 * np.array(busy).T
        found[case] = {f"p{q} ms": round(float(np.percentile(wall, q)), 3) for q in (50, 99)}
        found[case]["p99 CPU ms"] = round(float(np.percentile(cpu, 99)), 3)
    events = {f"p{q} ms": round(1000 * float(np.percentile(ages, q)), 2) for q in (50, 95)}
    return {"loop": found, "frame to subscriber": events, "events": len(ages)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("kills", "cost"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    where, found = conditions(), dict[str, Any]()
    if arguments.only != "cost":
        found["kills"] = kills(arguments.kills)
    if arguments.only != "kills":
        found["cost"] = cost(arguments.seconds, arguments.rounds)
    print(json.dumps(found, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
    elif arguments.only is None:
        head = ["100 events/s, 50 fps, 20 objects", "p50 ms", "p99 ms", "p99 CPU ms"]
        rows = [[case, *map(str, t.values())] for case, t in found["cost"]["loop"].items()]
        age = found["cost"]["frame to subscriber"]
        rows.append(["from the frame to a sink's `send`", str(age["p50 ms"]), f"{age['p95 ms']} (p95)", ""])
        print(table(head, rows))
        print(save("sinks", {"head": head, "rows": rows, **found}, where))


if __name__ == "__main__":
    main()

"""Events: the same set in every sink, after kills too; what they cost the loop; how soon a sink has them.

    python benchmarks/sinks.py                         50 kills, 20 s per round of timing
    python benchmarks/sinks.py --kills 3 --only kills --json found.json     what the tests run

Kills: a program plays the rendered street, each time with other events, into JSON lines, SQLite and Parquet,
and is killed (SIGKILL) at a random moment. The last run ends by itself. Then every sink must have the same
events in the same order, each once, those of each run numbered without a gap, and everything that any sink or
the spool had before a kill.

Cost: 2 events per frame at 50 fps, with sinks and without, in turns of a second each; the time that the loop
needs per frame, and how much more it is with sinks, with the interval over the pairs of turns.

    python benchmarks/sinks.py --only away --away-s 600         a broker and a Redis, killed for 10 minutes
    python benchmarks/sinks.py --only latency --clip road.mp4   from a frame's capture to a subscriber

Away: 10 events/s at 25 fps go to mosquitto and redis-server; both are killed (SIGKILL), and started again
after --away-s seconds. A subscriber and the stream must then have every event, in order.

Latency: a clip at its own pace through street-nano, a tracker and six lines, to mosquitto. A frame is
captured when its time has come on the paced clock, before it is decoded.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table

from edgevid.output.delivery import open_spool
from edgevid.output.records import read_events
from edgevid.output.sinks import EventLines, JsonLines
from edgevid.output.tables import SqliteSink, read_database
from edgevid.run.loop import run
from edgevid.types import Detections, Event, Frame, Result, Tracks
from edgevid.video.frames import Source
from edgevid.zones import ZoneEvent

try:
    import pyarrow.parquet as parquet
except ImportError:
    parquet = None

WARM_UP = 10
"""Frames of each turn that are not counted."""
WRITER = """
import sys
from pathlib import Path
from edgevid.output.sinks import EventLines
from edgevid.output.tables import SqliteSink
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
    from edgevid.output.tables import ParquetSink
    sinks.append(ParquetSink(folder / "parquet", segment_s=1))
run(Pipeline(RenderedDetector(street), Tracker()), street, sinks, zones=zones, header=Header("gate"),
    on_result=lambda frame, result: frame.index or print("up", flush=True))
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
        "SQLite": [row["id"] for row in read_database(folder / "events.db", "SELECT id FROM events ORDER BY rowid")]
    }
    if (folder / "events.jsonl").exists():
        found["JSON lines"] = [event.id for event in read_events(folder / "events.jsonl")]
    if parquet:
        files = sorted((folder / "parquet").glob("events-*.parquet"))
        found["Parquet"] = [i for file in files for i in parquet.read_table(file)["id"].to_pylist()]
    return found


def in_spool(folder: Path) -> list[str]:
    """The ids in a spool."""
    with contextlib.closing(open_spool(folder)) as base:
        return [json.loads(line)["id"] for (line,) in base.execute("SELECT line FROM events")]


def kills(count: int) -> dict[str, Any]:
    """Kills the program `count` times, and compares the sinks."""
    chance, durable, killed_with = random.Random(1), set[str](), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(count):
            write(folder, 60, kill_after=chance.uniform(0.05, 1.5))
            waiting = in_spool(folder / "spool" / "gate")
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


def paced(seconds: float, busy: list[tuple[float, float]], fps: float = 50) -> Iterator[Frame]:
    """Frames at a rate; notes the time and the CPU time that the loop takes for each."""
    image, started = np.zeros((360, 640, 3), np.uint8), time.perf_counter()
    for index in range(int(seconds * fps)):
        time.sleep(max(0.0, started + index / fps - time.perf_counter()))
        before, cpu = time.perf_counter(), time.thread_time()
        frame = Frame(image, before, index)
        yield frame
        busy.append((time.perf_counter() - before, time.thread_time() - cpu))


CASES = ("no sinks", "sinks of events", "and records")


def made(case: str, folder: Path) -> list[Any]:
    """The sinks of a case."""
    folder.mkdir()
    if case == "no sinks":
        return []
    sinks: list[Any] = [EventLines(folder / "e.jsonl"), SqliteSink(folder / "e.db"), Subscriber()]
    return sinks if case == "sinks of events" else [*sinks, JsonLines(folder / "r.jsonl")]


def cost(seconds: float, rounds: int) -> dict[str, Any]:
    """p50 and p99 of the loop's time and CPU time per frame in ms, how much more the sinks make them, and the
    ages of events in a sink."""
    times: dict[str, list[Any]] = {case: [] for case in CASES}
    ages: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["EDGEVID_SPOOL"] = f"{name}/spool"
        for number in range(rounds):
            for case in random.Random(number).sample(CASES, len(CASES)):
                sinks, busy = made(case, Path(name) / f"{case}-{number}"), list[tuple[float, float]]()
                run(FixedPipeline(), paced(seconds, busy), sinks, zones=TwoCrossings())
                times[case].append(1000 * np.array(busy[WARM_UP:]))
                ages += [age for sink in sinks if isinstance(sink, Subscriber) for age in sink.ages]
    found: dict[str, Any] = {}
    for case, turns in times.items():
        both = np.concatenate(turns).T
        found[case] = {f"p{q} ms": round(float(np.percentile(both[0], q)), 3) for q in (50, 99)}
        found[case]["p99 CPU ms"] = round(float(np.percentile(both[1], 99)), 3)
    more = {case: growth(times["no sinks"], times[case]) for case in CASES[1:]}
    events = {f"p{q} ms": round(1000 * float(np.percentile(ages, q)), 2) for q in (50, 95)}
    return {"loop": found, "p99 grows by": more, "frame to a sink": events, "events": len(ages)}


def growth(without: list[Any], with_sinks: list[Any]) -> dict[str, list[float]]:
    """The growth of p99 in ms, and its 95 % interval by resampling the rounds in pairs."""
    chance, n = np.random.default_rng(1), len(without)
    found = {}
    for column, name in enumerate(("wall", "CPU")):

        def p99(rounds: Any, turns: list[Any], at: int = column) -> float:
            return float(np.percentile(np.concatenate([turns[k][:, at] for k in rounds]), 99))

        picks = [np.arange(n), *(chance.integers(0, n, n) for _ in range(1000))]
        drawn = [p99(pick, with_sinks) - p99(pick, without) for pick in picks]
        found[name] = [round(float(v), 3) for v in (drawn[0], *np.percentile(drawn[1:], (2.5, 97.5)))]
    return found


class Servers:
    """mosquitto and redis-server with data on the disk; both can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mqtt, self.redis = folder, free_port(), free_port()
        (folder / "mosquitto.conf").write_text(
            f"user {getpass.getuser()}\nlistener {self.mqtt} 127.0.0.1\nallow_anonymous true\n"
        )
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        calls = [["mosquitto", "-c", f"{self.folder}/mosquitto.conf"],
                 ["redis-server", "--port", f"{self.redis}", "--dir", f"{self.folder}", "--appendonly", "yes",
                  "--appendfsync", "always", "--save", ""]]  # fmt: skip
        where = os.environ["PATH"] + ":/usr/sbin"
        quiet = subprocess.DEVNULL
        self._programs = [
            subprocess.Popen([shutil.which(call[0], path=where) or call[0], *call[1:]], stdout=quiet, stderr=quiet)
            for call in calls
        ]
        for port in (self.mqtt, self.redis):
            while not listens(port):
                time.sleep(0.05)

    def kill(self) -> None:
        for one in self._programs:
            one.kill()
            one.wait()


class Inbox:
    """A subscriber of all events; notes when each came. It connects again when the broker is back."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as mqtt

        self.came: list[tuple[str, float]] = []
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "inbox", clean_session=False)
        client.on_connect = lambda c, *_: c.subscribe("edgevid/events", qos=1)
        client.on_message = lambda c, data, message: self.came.append(
            (json.loads(message.payload)["id"], time.perf_counter())
        )
        client.reconnect_delay_set(0.2, 0.2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        self.client = client


class EveryFewFrames:
    """Two events per five frames: 10 per second at 25 fps."""

    def __init__(self) -> None:
        self.frames = 0

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]:
        self.frames += 1
        made = (3, 7) if self.frames % 5 == 0 else ()
        return [ZoneEvent(time, "cross", "gate", number, 0, "forward") for number in made]

    def resize(self, size: tuple[int, int]) -> None:
        raise AssertionError


def away(away_s: float) -> dict[str, Any]:
    """Both servers are killed for a while; what the subscriber and the stream then have."""
    import redis

    from edgevid.output.mqtt import MqttSink
    from edgevid.output.server import RedisSink

    found: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["EDGEVID_SPOOL"] = f"{name}/spool"
        servers = Servers(Path(name))
        servers.start()
        inbox, back = Inbox(servers.mqtt), dict[str, float]()

        def plug() -> None:
            time.sleep(15)
            servers.kill()
            time.sleep(away_s)
            servers.start()
            back["at"], back["waited"] = time.perf_counter(), len(found)

        threading.Thread(target=plug, daemon=True).start()
        sinks = [MqttSink(f"mqtt://127.0.0.1:{servers.mqtt}"), RedisSink(f"redis://127.0.0.1:{servers.redis}")]
        summary = run(
            FixedPipeline(), paced(15 + away_s + 60, [], 25), sinks, zones=EveryFewFrames(),
            on_event=lambda event: found.append(event.id),
        )  # fmt: skip
        time.sleep(2)
        client = redis.Redis(port=servers.redis, decode_responses=True)
        got = {"redis": [fields["id"] for _, fields in client.xrange("edgevid")]}
        got["mqtt"] = list(dict.fromkeys(i for i, _ in inbox.came))
        caught_up = next(t for i, t in inbox.came if i == found[int(back["waited"])]) - back["at"]
        servers.kill()
    return {
        "away s": away_s, "events": len(found), "found while away": int(back["waited"]) - 150,
        "lost": {kind: len(set(found) - set(ids)) for kind, ids in got.items()},
        "in order": {kind: ids == found for kind, ids in got.items()},
        "came twice": {"redis": len(got["redis"]) - len(set(got["redis"])),
                       "mqtt": len(inbox.came) - len(got["mqtt"])},
        "all delivered after s": round(caught_up, 1), "notes": summary.notes,
    }  # fmt: skip


class OnTime(Source):
    """A clip's frames, each not before its time has come: a camera whose frames wait for nothing else."""

    def __init__(self, video: Any, seconds: float) -> None:
        super().__init__()
        self.video, self.seconds, self.size = video, seconds, video.size
        self.started = 0.0

    def __iter__(self) -> Iterator[Frame]:
        self.started = time.perf_counter()
        for frame in self.video:
            if frame.time > self.seconds:
                return
            time.sleep(max(0.0, self.started + frame.time - time.perf_counter()))
            yield frame


def latency(clip: str, seconds: float) -> dict[str, Any]:
    """The time from a frame's capture to the message at a subscriber, for events of objects in it."""
    from edgevid.detect.detector import Detector
    from edgevid.output.mqtt import MqttSink
    from edgevid.pipeline import Pipeline
    from edgevid.track import Tracker
    from edgevid.video.open import open_video
    from edgevid.zones import Line, ZoneMonitor

    captured, busy = dict[str, float](), list[float]()
    with tempfile.TemporaryDirectory() as name, open_video(clip) as video:
        os.environ["EDGEVID_SPOOL"] = f"{name}/spool"
        servers = Servers(Path(name))
        servers.start()
        inbox, source = Inbox(servers.mqtt), OnTime(video, seconds)
        width, height = video.size
        lines = [Line(f"at {share:g}", (0, share * height), (width, share * height)) for share in (0.4, 0.5, 0.6)]
        lines += [Line(f"x {share:g}", (share * width, 0), (share * width, height)) for share in (0.3, 0.5, 0.7)]
        frames = dict[int, float]()

        def note(frame: Frame, result: Result) -> None:
            frames[frame.index] = source.started + frame.time
            busy.append(sum(result.timings.values()))

        found: list[Event] = []
        run(Pipeline(Detector.load("street-nano"), Tracker()), source,
            [MqttSink(f"mqtt://127.0.0.1:{servers.mqtt}")], zones=ZoneMonitor(lines=lines), on_result=note,
            on_event=found.append)  # fmt: skip
        time.sleep(1)
        servers.kill()
        captured |= {e.id: frames[e.frame] for e in found if e.kind == "cross" and e.frame in frames}
    ages = np.array([1000 * (at - captured[i]) for i, at in inbox.came if i in captured])
    return {
        "events": len(ages), "model and tracker p50 ms": round(1000 * float(np.median(busy)), 1),
        "frame to subscriber": {f"p{q} ms": round(float(np.percentile(ages, q)), 1) for q in (50, 95)},
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4, help="per turn of timing")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--away-s", type=float, default=600)
    parser.add_argument("--clip", default="")
    parser.add_argument("--clip-s", type=float, default=120)
    parser.add_argument("--only", choices=("kills", "cost", "away", "latency"), default="")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    only, where, found = arguments.only, conditions(), dict[str, Any]()
    if only in ("", "kills"):
        found["kills"] = kills(arguments.kills)
    if only in ("", "cost"):
        found["cost"] = cost(arguments.seconds, arguments.rounds)
    if only == "away":
        found = away(arguments.away_s)
    if only == "latency":
        where["command"] = where["command"].replace(arguments.clip, Path(arguments.clip).name)
        found = {"clip": Path(arguments.clip).name, **latency(arguments.clip, arguments.clip_s)}
    print(json.dumps(found, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
    elif only in ("away", "latency"):
        print(save(f"sinks_{only}", found, where))
    elif not only:
        head = ["100 events/s, 50 fps, 20 objects", "p50 ms", "p99 ms", "p99 CPU ms"]
        rows = [[case, *map(str, t.values())] for case, t in found["cost"]["loop"].items()]
        for case, more in found["cost"]["p99 grows by"].items():
            grown = [f"{m:+.2f} ({low:+.2f} to {high:+.2f})" for m, low, high in more.values()]
            rows.append([f"{case}: p99 grows by", "", *grown])
        age = found["cost"]["frame to a sink"]
        rows.append(["from the frame to a sink's `send`", str(age["p50 ms"]), f"{age['p95 ms']} (p95)", ""])
        print(table(head, rows))
        print(save("sinks", {"head": head, "rows": rows, **found}, where))


if __name__ == "__main__":
    main()

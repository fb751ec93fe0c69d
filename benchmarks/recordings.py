"""What recording costs: CPU time per frame of the ring, the files and the snapshots; and of a filter.

    python benchmarks/recordings.py VIDEO MODEL [--rounds 4] [--frames 200] [--save]

The same frames and results go through a run without a recorder and through one with it, in turns:
continuous recording, clips of a crossing per second, and snapshots of all objects. CPU time is that of the
whole process, threads included. Then 100,000 events, a week of a busy road, are filtered through the viewer's
own server, as its page asks: by one client, and by 16 at the same moment, in the same process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench import conditions, save, table

from edgevid.detect.detector import Detector
from edgevid.output.recordings import DATABASE, Recorder
from edgevid.output.tables import SqliteSink
from edgevid.pipeline import Pipeline
from edgevid.run.loop import run
from edgevid.track import Tracker
from edgevid.types import Event, Frame, Result
from edgevid.types.event import utc_text
from edgevid.video.open import open_video
from edgevid.viewer.app import viewer_app
from edgevid.viewer.serve import Server
from edgevid.viewer.state import ViewerState
from edgevid.zones import ZoneEvent

CLIENTS, EVENTS, WEEK_S, START = 16, 100_000, 604_800, 1769860800.0
QUERIES = ("", "class=truck", "kind=wrong-way", "min_kmh=80&class=car", "place=gate%207&after=2026-02-03",
           "camera=gate-2&kind=cross,enter")  # fmt: skip


class Played:
    """A pipeline that gives results that were made before, and zones with a crossing per second."""

    def __init__(self, results: list[Result]) -> None:
        self.results, self.names, self._second = results, results[0].names, -1

    def process(self, frame: Frame) -> Result:
        return self.results[frame.index]

    def update(self, tracks: Any, moment: float) -> list[ZoneEvent]:
        if not len(tracks) or int(moment) == self._second:
            return []
        self._second = int(moment)
        return [ZoneEvent(moment, "cross", "gate", int(tracks.ids[0]), int(tracks.labels[0]))]

    def resize(self, size: tuple[int, int]) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


def cpu_ms(video: Path, results: list[Result], folder: Path | None) -> float:
    """CPU milliseconds per frame of a run, with a recorder where there is a folder."""
    recorder = Recorder(folder, segment_s=10) if folder else None
    played = Played(results)
    before = time.process_time()
    with open_video(video, **({"packets": recorder.tap} if recorder else {})) as source:
        run(played, source, [recorder] if recorder else [], zones=played, max_frames=len(results))
    return 1000 * (time.process_time() - before) / len(results)


def filters() -> list[dict[str, Any]]:
    """Seconds of each query over HTTP: one client, and the slowest of all at once."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        kinds, classes = ("cross", "enter", "leave", "wrong-way", "track-ended"), ("car", "person", "truck")
        with SqliteSink(Path(folder) / DATABASE) as sink:
            sink.send([
                Event(f"r-{n:06d}", kinds[n % 5], utc_text(START + n * WEEK_S / EVENTS), float(n),  # type: ignore[arg-type]
                      f"gate-{n % 3}", "r", n, f"gate {n % 10}", n, classes[n % 3], speed_mps=float(n % 30))
                for n in range(EVENTS)
            ])  # fmt: skip
        source = SimpleNamespace(live=True, size=(640, 360), fps=25.0, dropped=0)
        state = ViewerState(source, SimpleNamespace(names={"class": ()}), title="", recordings=Path(folder))  # type: ignore[arg-type]
        with Server(viewer_app(state), port=0) as server:
            for query in QUERIES:
                url = f"{server.address}api/events?limit=100&{query}"
                rows.append(
                    {"filter": query or "none", "one ms": _asked(url, 1), "16 at once ms": _asked(url, CLIENTS)}
                )
        state.close()
    return rows


def _asked(url: str, clients: int) -> float:
    """The slowest answer of all clients in milliseconds, the median of five tries."""
    tries = []
    for _ in range(5):
        spent: list[float] = []

        def ask() -> None:
            begun = time.perf_counter()
            urllib.request.urlopen(url).read()
            spent.append(1000 * (time.perf_counter() - begun))  # noqa: B023

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tries.append(max(spent))
    return round(statistics.median(tries), 1)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("video", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    detector = Detector.load(given.model, score_threshold=0.1, threads=1)
    results = []
    with open_video(given.video) as source:
        for _, result in Pipeline(detector, Tracker()).run(source):
            results.append(result)
            if len(results) == given.frames:
                break
    plain, recorded = [], []
    for _ in range(given.rounds):
        plain.append(cpu_ms(given.video, results, None))
        with tempfile.TemporaryDirectory() as folder:
            recorded.append(cpu_ms(given.video, results, Path(folder)))
    extra = [b - a for a, b in zip(plain, recorded, strict=True)]
    size = "{}x{}".format(*results[0].size)
    objects = round(sum(map(len, results)) / len(results), 1)
    cost = [{
        "video": f"{given.video.name}, {size}", "objects/frame": objects,
        "run ms": round(statistics.median(plain), 2), "recorded ms": round(statistics.median(recorded), 2),
        "recording ms": round(statistics.median(extra), 2), "from": round(min(extra), 2),
        "to": round(max(extra), 2),
    }]  # fmt: skip
    where = conditions()
    print(table(list(cost[0]), [list(row.values()) for row in cost]))
    asked = filters()
    print(table(list(asked[0]), [list(row.values()) for row in asked]))
    if given.save:
        save(f"recordings_{given.video.stem}", {"cost": cost, "filters": asked}, where)


if __name__ == "__main__":
    main()

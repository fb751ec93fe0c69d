"""Ten minutes at full speed on a real clip that loops, with two viewers connected.

    python benchmarks/field_soak.py                 10 minutes
    python benchmarks/field_soak.py --minutes 1

Detector, tracker, speeds, abstain policies, zones, every output in segments with a disk limit, and the
overlay viewer with two clients that behave as browsers do. Memory, threads, open files and files on
disk are sampled every five seconds; after the warm-up none may grow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table
from field_clip import CALIBRATION, CLIP, CLIPS, OUTSIDE, environment

from edgevid.abstain.file import PolicyFile, write_policy
from edgevid.abstain.policy import Settings
from edgevid.output.review import ReviewSink
from edgevid.output.sinks import AnnotatedVideo, JsonLines, MotText, SegmentedSink
from edgevid.run.loop import Summary, run
from edgevid.run.watchdog import Watchdog
from edgevid.site.build import LoadedSite, build_calibration, build_pipeline, build_zones, load_site
from edgevid.site.file import Site
from edgevid.speed.abstain import SpeedPolicy
from edgevid.video.files import FileSource
from edgevid.zones import Line, Zone

SAMPLE_S, SEGMENT_S, LIMIT = 5.0, 5.0, 2_500_000
CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
ROAD = ((60, 60), (600, 60), (600, 340), (60, 340))
VIEWER = """
import json, struct, sys
from websockets.sync.client import connect
received = 0
with connect(sys.argv[1], max_size=None) as socket:
    for message in socket:
        if isinstance(message, bytes):
            length = struct.unpack("<I", message[:4])[0]
            number = json.loads(message[4 : 4 + length])["n"]
            socket.send(json.dumps({"ack": number}))
            received += 1
            if received % 100 == 0:
                print(received, flush=True)
"""
"""A browser's part of the protocol: receives an image and acknowledges it."""


def site(folder: Path) -> Site:
    """The gantry road with every stage enabled."""
    policy = folder / "classes.toml"
    write_policy(policy, PolicyFile(CLASSES, Settings(), task="class", speed=SpeedPolicy()))
    return Site(
        source=str(CLIPS / CLIP),
        model="street-nano",
        calibration=CALIBRATION,
        policy=policy,
        zones=(Zone("road", [(60, 60), (600, 60), (600, 340), (60, 340)], dwell_s=2, stopped_s=2, direction=90),),
        lines=(Line("gate", (40, 200), (620, 200)),),
    )


class Samples:
    """Samples this process every five seconds, from a thread."""

    def __init__(self, folder: Path, summary: Summary) -> None:
        self.rows: list[dict[str, float]] = []
        self._folder, self._summary, self._began = folder, summary, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Samples:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(SAMPLE_S):
            files = [p for p in self._folder.rglob("*") if p.is_file()]
            row = {
                "at": time.monotonic() - self._began,
                "frames": self._summary.frames,
                "memory MB": pages() * os.sysconf("SC_PAGE_SIZE") / 1e6,
                "threads": float(len(os.listdir("/proc/self/task"))),
                "open files": float(len(os.listdir("/proc/self/fd"))),
                "files": float(len(files)),
                "disk MB": sum(map(_bytes, files)) / 1e6,
            }
            self.rows.append(row)
            if len(self.rows) % 12 == 0:
                print({k: round(v, 1) for k, v in row.items()}, flush=True)


def pages() -> int:
    """Resident pages of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def soak(folder: Path, minutes: float) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """The run; the samples and what was done."""
    chosen = site(folder)
    loaded = load_site(chosen)
    source = FileSource(chosen.source, loop=True, threads=1)
    pipeline, zones = build_pipeline(loaded, source.size, threads=1), build_zones(loaded, source.size)
    sinks: list[Any] = [
        SegmentedSink(folder / "seen.mp4", AnnotatedVideo, segment_s=SEGMENT_S, max_disk_bytes=LIMIT),
        SegmentedSink(folder / "seen.jsonl", JsonLines, segment_s=SEGMENT_S, max_disk_bytes=LIMIT),
        SegmentedSink(folder / "seen.txt", MotText, segment_s=SEGMENT_S, max_disk_bytes=LIMIT // 10),
        ReviewSink(folder / "kept", LIMIT),
    ]
    summary, end = Summary(), time.monotonic() + 60 * minutes
    with ExitStack() as stack:
        frames: Any = stack.enter_context(source)
        viewed = Viewed(stack, loaded, pipeline, source, zones)
        samples = stack.enter_context(Samples(folder, summary))
        stack.enter_context(Watchdog(source, summary, every_s=60))
        for sink in sinks:
            stack.callback(sink.close)

        def until_the_end() -> Any:
            for frame in frames:
                yield frame
                if time.monotonic() > end:
                    return

        run(pipeline, until_the_end(), sinks, zones=viewed.zones, on_result=viewed.observe, summary=summary)
        figures = {"frames": summary.frames, "objects": sum(summary.objects().values())}
        figures |= {"events": sum(summary.event_counts.values()), "segments": sinks[0].started}
        return samples.rows, {**figures, "segments deleted": sinks[0].removed, **viewed.figures()}


class Viewed:
    """The overlay viewer with two clients."""

    def __init__(self, stack: ExitStack, loaded: LoadedSite, pipeline: Any, source: Any, zones: Any) -> None:
        from edgevid.viewer.app import viewer_app
        from edgevid.viewer.serve import Server
        from edgevid.viewer.state import ViewerState

        calibration = build_calibration(loaded, source.size)
        state = ViewerState(source, pipeline, title=CLIP, calibration=calibration, monitor=zones)
        stack.callback(state.close)
        server = stack.enter_context(Server(viewer_app(state), port=0))
        address = server.address.replace("http://", "ws://") + "ws"
        self._viewers = []
        for _ in range(2):
            viewer = subprocess.Popen(
                [sys.executable, "-c", OUTSIDE + VIEWER, address], stdout=subprocess.PIPE, env=environment(), text=True
            )
            stack.callback(viewer.wait)
            stack.callback(viewer.kill)
            self._viewers.append(viewer)
        self.zones, self.observe, self._broadcast = state, state.observe, state.broadcast

    def figures(self) -> dict[str, Any]:
        """What the clients got."""
        clients = self._broadcast.clients
        return {"clients at the end": len(clients), "images sent to each": [one.sent for one in clients]}


def growth(rows: list[dict[str, float]], minutes: float) -> dict[str, Any]:
    """Growth of each column from the first fifth after the warm-up to the last fifth, by their medians."""
    warm = min(120.0, 12 * minutes)
    kept = [row for row in rows if row["at"] > warm]
    fifth = max(1, len(kept) // 5)
    found: dict[str, Any] = {"warm-up s": warm}
    for column in ("memory MB", "threads", "open files", "files", "disk MB"):
        values = np.array([row[column] for row in kept])
        first, last = float(np.median(values[:fifth])), float(np.median(values[-fifth:]))
        found[column] = {
            "after the warm-up": round(first, 1),
            "at the end": round(last, 1),
            "most": round(float(values.max()), 1),
            "growth %": round(100 * (last / first - 1), 2),
        }
    return found


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # deleted meanwhile, as old segments are
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    if not (CLIPS / CLIP).is_file():
        raise SystemExit(f"needs the clip {CLIP} of the shared test data")
    where = conditions()
    with tempfile.TemporaryDirectory() as scratch:
        rows, done = soak(Path(scratch), arguments.minutes)
    found = growth(rows, arguments.minutes)
    result = {"clip": CLIP, "minutes": arguments.minutes, **done, **found, "samples": rows[::6]}
    print(table(["what", "figure"], [[k, str(v)] for k, v in result.items() if k != "samples"]))
    print(save("field_soak", result, where))


if __name__ == "__main__":
    main()

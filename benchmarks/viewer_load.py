"""What viewers cost the pipeline: time a frame with none, one, two, and two with a third that reads nothing.

    python benchmarks/viewer_load.py VIDEO [--rounds 4] [--frames 100]

The real pipeline on a real video at its own pace, as for a camera; the viewers are processes of their own
that answer each image. The four cases run in turn, again and again, so that the machine's other work
falls on all of them. "Pipeline" is `Pipeline.process` with one thread, by the clock and in CPU time;
"observe" is the CPU time that the frame loop spends on its viewers; encoding has a thread of its own.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import conditions, save, table

from edgevid.site.file import Site
from edgevid.viewer.app import viewer_app
from edgevid.viewer.config import real
from edgevid.viewer.serve import Server
from edgevid.viewer.state import ViewerState

CLIENT = """
import json, sys
from websockets.sync.client import connect
with connect(sys.argv[1], max_size=None, max_queue=4) as ws:
    print("there", flush=True)
    if sys.argv[2] == "stuck":
        sys.stdin.read()
    while True:
        message = ws.recv()
        if isinstance(message, bytes):
            n = int.from_bytes(message[:4], "little")
            ws.send(json.dumps({"got": json.loads(message[4:4 + n])["n"]}))
"""
CASES = {
    "no viewer": [],
    "1 viewer": ["quick"],
    "2 viewers": ["quick"] * 2,
    "2 and a stuck one": ["quick"] * 2 + ["stuck"],
}


def start(url: str, kind: str) -> subprocess.Popen[bytes]:
    """A viewer in a process of its own."""
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", CLIENT, url, kind]
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def play(video: Path, frames: int, kinds: list[str], seen: dict[str, Any]) -> None:
    """One case, once; its figures are added to `seen`."""
    setting = real(Site(source=str(video)), threads=1)
    show = ViewerState(setting.source, setting.pipeline, title="load")
    with Server(viewer_app(show), port=0) as server:
        url = f"ws://127.0.0.1:{server.port}/ws"
        clients = [start(url, kind) for kind in kinds]
        for client in clients:
            assert client.stdout is not None
            client.stdout.readline()
        with setting.source as source:
            for count, frame in enumerate(show.gate.through(source)):
                begun, cpu = time.perf_counter(), time.thread_time()
                result = setting.pipeline.process(frame)
                seen["cpu"].append(time.thread_time() - cpu)
                seen["pipeline"].append(time.perf_counter() - begun)
                begun = time.thread_time()
                show.observe(frame, result)
                seen["observe"].append(time.thread_time() - begun)
                if count >= frames:
                    break
        time.sleep(0.2)
        seen["encoded"] += show.hub.encoded
        seen["encode_s"] += show.hub.encode_s
        seen["sent"].append([viewer.sent for viewer in show.hub.viewers])
        for client in clients:
            client.kill()
            client.wait()
    show.close()


def row(name: str, seen: dict[str, Any], base: float) -> list[str]:
    """One case's line of the table."""
    middle, count = statistics.median(seen["cpu"]), len(seen["cpu"])
    wall = f"{1000 * statistics.median(seen['pipeline']):.2f}"
    observe = 1000 * statistics.median(seen["observe"])
    each = f"{1000 * seen['encode_s'] / seen['encoded']:.2f}" if seen["encoded"] else "-"
    sent = ", ".join(map(str, seen["sent"][-1])) or "-"
    shares = [f"{middle / base:.2f}x", f"{observe:.3f}", f"{seen['encoded'] / count:.2f}", each, sent]
    return [name, wall, f"{1000 * middle:.2f}", *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=100)
    asked = parser.parse_args()
    where = conditions()
    empty: dict[str, Any] = {
        "pipeline": [],
        "cpu": [],
        "observe": [],
        "encoded": 0,
        "encode_s": 0.0,
        "sent": [],
    }
    found: dict[str, dict[str, Any]] = {name: copy.deepcopy(empty) for name in CASES}
    for _ in range(asked.rounds):
        for name, kinds in CASES.items():
            play(asked.video, asked.frames, kinds, found[name])
    head = ["viewers", "pipeline ms", "pipeline CPU ms", "of none", "observe CPU ms", "encodings a frame"]
    head += ["CPU ms of one", "images sent to each"]
    base = statistics.median(found["no viewer"]["cpu"])
    rows = [row(name, seen, base) for name, seen in found.items()]
    print(table(head, rows))
    save("viewer_load", {"head": head, "rows": rows, "frames": asked.frames, "rounds": asked.rounds}, where)


if __name__ == "__main__":
    main()

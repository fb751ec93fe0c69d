"""What viewers cost the pipeline: time per frame with none, one, two, a third that reads nothing, and 16.

    python benchmarks/viewer_load.py VIDEO [--rounds 4] [--frames 100]

The real pipeline on a real video at its own pace, as for a camera; the viewers are processes of their own
that acknowledge each image. The cases are interleaved, so that other load on the machine
affects all of them. "Pipeline" is `Pipeline.process` with one thread, by the clock and in CPU time;
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

from edgevid.site.build import load_site
from edgevid.site.file import Site
from edgevid.video.open import open_video
from edgevid.viewer.app import viewer_app
from edgevid.viewer.config import build_config
from edgevid.viewer.serve import Server
from edgevid.viewer.state import ViewerState

CLIENT = """
import json, sys
from websockets.sync.client import connect
with connect(sys.argv[1], max_size=None, max_queue=4) as ws:
    print("connected", flush=True)
    if sys.argv[2] == "stuck":
        sys.stdin.read()
    while True:
        message = ws.recv()
        if isinstance(message, bytes):
            n = int.from_bytes(message[:4], "little")
            ws.send(json.dumps({"ack": json.loads(message[4:4 + n])["n"]}))
"""
CASES = {
    "no viewer": [],
    "1 viewer": ["quick"],
    "2 viewers": ["quick"] * 2,
    "2 and a stuck one": ["quick"] * 2 + ["stuck"],
    "16 viewers": ["quick"] * 16,
}


def start(url: str, kind: str) -> subprocess.Popen[bytes]:
    """A viewer in a process of its own."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", CLIENT, url, kind]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def play(video: Path, frames: int, kinds: list[str], found: dict[str, Any]) -> None:
    """One case, once; its figures are added to `found`."""
    opened = open_video(video)
    config = build_config(load_site(Site(source=str(video))), opened, lambda: open_video(video), threads=1)
    state = ViewerState(config.source, config.pipeline, title="load")
    with Server(viewer_app(state), port=0) as server:
        url = f"ws://127.0.0.1:{server.port}/ws"
        clients = [start(url, kind) for kind in kinds]
        for client in clients:
            assert client.stdout is not None
            client.stdout.readline()
        with config.source as source:
            for count, frame in enumerate(state.playback.play(source)):
                started, cpu = time.perf_counter(), time.thread_time()
                result = config.pipeline.process(frame)
                found["cpu"].append(time.thread_time() - cpu)
                found["pipeline"].append(time.perf_counter() - started)
                started = time.thread_time()
                state.observe(frame, result)
                found["observe"].append(time.thread_time() - started)
                if count >= frames:
                    break
        time.sleep(0.2)
        found["encoded"] += state.broadcast.encoded
        found["encode_s"] += state.broadcast.encode_s
        found["sent"].append([client.sent for client in state.broadcast.clients])
        for client in clients:
            client.kill()
            client.wait()
    state.close()


def row(name: str, found: dict[str, Any], base: float) -> list[str]:
    """One case's line of the table."""
    middle, count = statistics.median(found["cpu"]), len(found["cpu"])
    wall = f"{1000 * statistics.median(found['pipeline']):.2f}"
    observe = 1000 * statistics.median(found["observe"])
    each = f"{1000 * found['encode_s'] / found['encoded']:.2f}" if found["encoded"] else "-"
    last = found["sent"][-1]
    sent = ", ".join(map(str, last if len(last) < 4 else [f"{min(last)} to {max(last)}"])) or "-"
    shares = [f"{middle / base:.2f}x", f"{observe:.3f}", f"{found['encoded'] / count:.2f}", each, sent]
    return [name, wall, f"{1000 * middle:.2f}", *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    where = conditions()
    empty: dict[str, Any] = {"pipeline": [], "cpu": [], "observe": [], "encoded": 0, "encode_s": 0.0, "sent": []}
    found: dict[str, dict[str, Any]] = {name: copy.deepcopy(empty) for name in CASES}
    for _ in range(arguments.rounds):
        for name, kinds in CASES.items():
            play(arguments.video, arguments.frames, kinds, found[name])
    head = ["viewers", "pipeline ms", "pipeline CPU ms", "vs no viewer", "observe CPU ms", "encodings/frame"]
    head += ["CPU ms/encoding", "images sent to each"]
    base = statistics.median(found["no viewer"]["cpu"])
    rows = [row(name, case, base) for name, case in found.items()]
    print(table(head, rows))
    save("viewer_load", {"head": head, "rows": rows, "frames": arguments.frames, "rounds": arguments.rounds}, where)


if __name__ == "__main__":
    main()

"""A real RTSP camera on loopback, killed, frozen, corrupted and resized while `edgevid run` reads it.

    python benchmarks/field_rtsp.py                  20 restarts (needs GStreamer's RTSP server)
    python benchmarks/field_rtsp.py --restarts 2     the short version that the tests run

The program under test is the command as a user starts it, with every output, zones and speeds. What it
printed and wrote is checked from outside: records read back, videos played, and everything searched for the
password. A second part counts images: each one carries its number, so that a reader knows which images of
the camera it received and which it did not.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import conditions, save, table
from field_clip import CALIBRATION, EDGEVID, camera_images, environment
from rtsp_server import PACKAGES, PASSWORD, USER, Camera, Proxy, gstreamer_python, number_of

from edgevid.output.records import read_jsonl
from edgevid.video.files import FileSource
from edgevid.video.live import LiveSource

SIZES = ((640, 360), (640, 360), (960, 540), (640, 480))
"""The camera's sizes from restart to restart: the same, larger, another aspect ratio."""
SITE = """source = "{uri}"
[camera]
calibration = "{calibration}"
[[zone]]
name = "road"
points = [[60, 60], [600, 60], [600, 340], [60, 340]]
[[line]]
name = "gate"
start = [40, 200]
end = [620, 200]
"""


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


class Program:
    """`edgevid run` on the camera, its outputs in `folder`."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.lines = folder, folder / "seen.jsonl"
        (folder / "site.toml").write_text(SITE.format(uri=uri, calibration=CALIBRATION))
        (folder / "site.toml").rename(folder.parent / "site.toml")  # contains the password, as it must
        call = [*EDGEVID, "run", "--site", str(folder.parent / "site.toml"), "--threads", "1"]
        call += ["--jsonl", str(self.lines), "--mot", str(folder / "seen.txt"), "--out", str(folder / "seen.mp4")]
        call += ["--status-s", "5"]
        self._out, self._err = (open(folder / f"{n}.log", "wb") for n in ("stdout", "stderr"))  # noqa: SIM115
        self._process = subprocess.Popen(call, stdout=self._out, stderr=self._err, env=environment())

    def log(self) -> str:
        """What it has logged on stderr so far."""
        return (self.folder / "stderr.log").read_text()

    def newest(self) -> dict[str, Any]:
        """The newest complete line of the record."""
        if not self.lines.exists() or not self.lines.stat().st_size:
            return {"frame": -1, "size": [0, 0], "time_s": 0.0}
        with open(self.lines, "rb") as file:
            file.seek(max(0, self.lines.stat().st_size - 60_000))
            whole = [line for line in file.read().split(b"\n")[:-1] if line.startswith(b'{"schema":"edgevid.result/')]
        return dict(json.loads(whole[-1])) if whole else {"frame": -1, "size": [0, 0], "time_s": 0.0}

    def recovers(self, size: tuple[int, int] | None = None, seconds: float = 60.0) -> bool:
        """Whether ten images more come, of the requested size."""
        had = self.newest()["frame"]
        return until(
            lambda: self.newest()["frame"] > had + 10 and size in (None, tuple(self.newest()["size"])), seconds
        )

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self) -> int:
        """Ctrl-C, as systemd is configured to; returns the exit status."""
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(30)
        finally:
            self._process.kill()
            self._out.close()
            self._err.close()


def whole_program(images: Path, folder: Path, restarts: int, freezes: int, harm_s: float) -> dict[str, Any]:
    """Kills, freezes and corrupts the camera of a running program; the outcome."""
    recoveries: list[float] = []
    noticed: list[float] = []
    harmed: dict[str, int] = {}
    with Camera(images, SIZES[0]) as camera:
        proxy = Proxy(camera.port)
        program = Program(folder, camera.uri.replace(f":{camera.port}/", f":{proxy.port}/"))
        assert program.recovers(SIZES[0]), program.log()
        for turn in range(restarts):
            camera.kill()
            time.sleep(0.3)
            size = SIZES[(turn + 1) % len(SIZES)]
            camera.start(size)
            began = time.monotonic()
            if program.recovers(size):
                recoveries.append(time.monotonic() - began)
        for _ in range(freezes):
            stalls = program.log().count(": stalled")
            camera.send(signal.SIGSTOP)
            began = time.monotonic()
            if until(lambda: program.log().count(": stalled") > stalls, 20):  # noqa: B023
                noticed.append(time.monotonic() - began)
            camera.send(signal.SIGCONT)
            assert program.recovers(), program.log()
        for harm in ("truncate", "drop"):
            before, proxy.harm, proxy.every = proxy.harmed, harm, 40
            time.sleep(harm_s)
            proxy.harm = ""
            harmed[harm] = proxy.harmed - before
            assert program.recovers(), program.log()
        alive = program.running()
        status = program.stop()
        proxy.close()
    return {
        "restarts": restarts,
        "recoveries": len(recoveries),
        "seconds from server up to ten images more, longest": round(max(recoveries), 2),
        "freezes": freezes,
        "freezes noticed": len(noticed),
        "seconds until a freeze is noticed, longest": round(max(noticed), 2),
        "packets harmed": harmed,
        "alive at the end": alive,
        "exit status after Ctrl-C": status,
        **check(folder),
    }


def check(folder: Path) -> dict[str, Any]:
    """Reads back all that was written and searches it for the password and the user's name."""
    lines = list(read_jsonl(folder / "seen.jsonl"))
    assert all(a["time_s"] < b["time_s"] and a["frame"] < b["frame"] for a, b in pairwise(lines))
    ids_of: dict[int, tuple[int, ...]] = {}
    objects = 0
    for line in lines:
        ids = [one["id"] for one in line["objects"]]
        assert len(ids) == len(set(ids))
        for one in line["objects"]:
            ids_of.setdefault(one["id"], tuple(line["size"]))
            assert ids_of[one["id"]] == tuple(line["size"])  # no track continues in another frame size
        objects += len(ids)
    speeds = sum("mps" in one.get("speed", {}) for line in lines for one in line["objects"])
    moved = sum(one.get("speed", {}).get("reason") == "CAMERA_MOVED" for line in lines for one in line["objects"])
    mot = (folder / "seen.txt").read_text().splitlines()
    assert all(len([float(v) for v in row.split(",")]) == 10 for row in mot)
    assert len(mot) == sum(one["detected"] for line in lines for one in line["objects"])
    videos = sorted(folder.glob("seen*.mp4"))
    played = 0
    for path in videos:
        with FileSource(path) as video:
            played += sum(1 for _ in video)
    assert played == len(lines)
    files = [path for path in folder.rglob("*") if path.is_file()]
    leaks = [p.name for p in files if any(word.encode() in p.read_bytes() for word in (PASSWORD, USER))]
    return {
        "records": len(lines),
        "objects in them": objects,
        "speeds emitted": speeds,
        "abstained because the view is another one": moved,
        "video segments, all playable": len(videos),
        "images in them": played,
        "files searched for credentials": len(files),
        "files with credentials": leaks,
    }


def counts(images: Path, count: int, seconds: float, restarts: int) -> dict[str, Any]:
    """A slow reader across restarts: is each image of the camera accounted for?"""
    taken = unexplained = 0
    spans: list[dict[str, int]] = []
    with Camera(images, SIZES[0]) as camera:
        with LiveSource(camera.uri, min_backoff_s=0.1, max_backoff_s=0.5) as source:
            started, last, connection = time.monotonic(), (0, 0), -1
            kills = 0
            for frame in source:
                if source.reconnections == connection and not spans[-1]["ended"]:
                    # Every image between two that were handed on was counted by the source.
                    gap = (number_of(frame) - last[0]) % count - (frame.index - last[1])
                    unexplained += gap != 0
                    spans[-1]["images"] += frame.index - last[1]
                else:
                    connection = source.reconnections
                    spans.append({"images": 1, "ended": 0})
                last = number_of(frame), frame.index
                taken += 1
                time.sleep(0.11)  # slower than the camera
                if time.monotonic() - started > seconds:
                    if kills == restarts:
                        break
                    camera.kill()
                    camera.start(SIZES[0])
                    kills, started = kills + 1, time.monotonic()
                    spans[-1]["ended"] = 1
        still = source.decoded - taken - source.dropped  # one may wait in the slot
    return {
        "restarts": restarts,
        "images decoded": source.decoded,
        "processed": taken,
        "counted as dropped": source.dropped,
        "waiting when it ended": still,
        "steps where the images' numbers disagree with the count": unexplained,
    }


def harms(images: Path, seconds: float) -> list[dict[str, Any]]:
    """Truncated and missing packets: are damaged images dropped and counted?"""
    rows = []
    shutter = images / "shutter.txt"
    with Camera(images, SIZES[0], clock=shutter) as camera:
        for harm in ("truncate", "drop"):
            proxy = Proxy(camera.port)
            proxy.harm, proxy.every = harm, 40
            uri = camera.uri.replace(f":{camera.port}/", f":{proxy.port}/")
            with LiveSource(uri, min_backoff_s=0.1) as source:
                frames = iter(source)
                next(frames)
                started, taken, handed = time.monotonic(), len(shutter.read_text().splitlines()), 1
                for _ in frames:
                    handed += 1
                    if time.monotonic() - started > seconds:
                        break
                taken = len(shutter.read_text().splitlines()) - taken
            proxy.close()
            rows.append(
                {
                    "harm": harm,
                    "packets harmed": proxy.harmed,
                    "images that the camera sent": taken,
                    "received": handed,
                    "counted as damaged": source.corrupted,
                    "counted as dropped": source.dropped,
                }
            )
    return rows


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job, and inherited so
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--short", action="store_true", help="less of everything, as the tests do")
    parser.add_argument("--json", type=Path, help="write the figures there instead of benchmarks/results/")
    arguments = parser.parse_args()
    if gstreamer_python() is None:
        raise SystemExit(f"needs GStreamer's RTSP server: {PACKAGES}")
    where = conditions()
    with tempfile.TemporaryDirectory() as scratch:
        images, folder = Path(scratch) / "images", Path(scratch) / "written"
        images.mkdir()
        folder.mkdir()
        count = 60 if arguments.short else 250
        title = camera_images(images, count)
        freezes, harm_s, seconds = (1, 2.0, 3.0) if arguments.short else (3, 10.0, 8.0)
        result = {"clip": title, **whole_program(images, folder, arguments.restarts, freezes, harm_s)}
        if not arguments.short:
            result["counts"] = counts(images, count, seconds, 5)
            result["harms"] = harms(images, 20.0)
    print(table(["what", "figure"], [[k, str(v)] for k, v in result.items() if k not in ("counts", "harms")]))
    for name in ("counts", "harms"):
        print(f"\n{name}: {json.dumps(result.get(name), indent=1)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result))
    else:
        print(save("field_rtsp", result, where))


if __name__ == "__main__":
    main()

"""kill -9 at random moments while `edgevid run` writes: flushed lines stay readable, closed segments play.

    python benchmarks/field_kill.py                50 kills
    python benchmarks/field_kill.py --kills 3      the short version that the tests run

The program plays a real clip with every output in segments, next to a file that is not its own.
Before each kill the lines on disk are counted; afterwards all of them must be read back, every segment but
the last must play to its end with all its frames, the last one as far as it was written, and a new run in the
same folder must not change the old segments.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import conditions, save, table
from field_clip import CLIP, CLIPS, OUTSIDE, environment

from edgevid.errors import SourceError
from edgevid.output.records import read_jsonl
from edgevid.video.files import FileSource

SEGMENTS_S = (0.5, 60.0)
"""Short segments, of which some are closed before a kill, and long ones, of which the start must play."""
WRITER = """
import sys
from itertools import cycle
from pathlib import Path
from edgevid.pipeline import Pipeline
from edgevid.output.sinks import AnnotatedVideo, JsonLines, MotText
from edgevid.output.sinks import SegmentedSink
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.run.loop import run
from edgevid.track import Tracker
folder, clip, segment_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
if clip:
    from edgevid.detect.detector import Detector
    from edgevid.video.files import FileSource
    frames, detector = FileSource(clip, loop=True, threads=1), Detector.load("street-nano", threads=1)
else:
    frames = RenderedStreet(seconds=60)
    detector = RenderedDetector(frames)
makers = (("seen.mp4", lambda p: AnnotatedVideo(p, fps=25)), ("seen.jsonl", JsonLines), ("seen.txt", MotText))
sinks = [SegmentedSink(folder / name, make, segment_s=segment_s) for name, make in makers]
print("up", flush=True)
run(Pipeline(detector, Tracker()), frames, sinks)
"""
"""What `edgevid run --out --jsonl --mot --segment-s` does, on a clip that loops."""


def killed(folder: Path, clip: str, segment_s: float, delay: float) -> dict[str, int]:
    """One run that is killed `delay` seconds after its first line; what was on disk just before."""
    call = [sys.executable, "-c", OUTSIDE + WRITER, str(folder), clip, str(segment_s)]
    before = set(folder.iterdir())
    with subprocess.Popen(call, env=environment(), stdout=subprocess.DEVNULL) as program:
        while not (lines := sum(on_disk(p) for p in set(folder.glob("*.jsonl")) - before)):
            assert program.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        lines = sum(on_disk(p) for p in set(folder.glob("*.jsonl")) - before)
        program.send_signal(signal.SIGKILL)
    return check({p for p in folder.iterdir() if p not in before}, lines)


def on_disk(path: Path) -> int:
    """Complete records of a file."""
    return sum(b'"edgevid.result/' in line for line in path.read_bytes().split(b"\n")[:-1])


def check(new: set[Path], flushed: int) -> dict[str, int]:
    """Reads back what one killed run left."""
    records = sorted(p for p in new if p.suffix == ".jsonl")
    videos = sorted(p for p in new if p.suffix == ".mp4")
    lines = [len(list(read_jsonl(path))) for path in records]
    played = [count_frames(path) for path in videos]
    # Closed segments are complete: as many frames as lines. The last one was being written.
    whole = min(len(records), len(videos)) - 1
    assert played[:whole] == lines[:whole], (played, lines)
    for path in (p for p in new if p.suffix == ".txt"):
        rows = path.read_text().split("\n")[:-1]
        assert all(len([float(v) for v in row.split(",")]) == 10 for row in rows)
    return {
        "lines on disk before": flushed,
        "lines read back": sum(lines),
        "segments closed before": whole,
        "of them playable": whole,
        "frames in the segment being written": played[-1] if len(played) > whole else 0,
    }


def count_frames(path: Path) -> int:
    """How many frames of a video play; 0 where less than its first two seconds were written."""
    try:
        with FileSource(path) as video:
            return sum(1 for _ in video)
    except SourceError:
        return 0


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds until the latest kill")
    parser.add_argument("--rendered", action="store_true", help="a rendered street instead of the clip")
    parser.add_argument("--json", type=Path, help="write the figures there instead of benchmarks/results/")
    arguments = parser.parse_args()
    clip = "" if arguments.rendered or not (CLIPS / CLIP).is_file() else str(CLIPS / CLIP)
    where, rng, rows = conditions(), random.Random(0), []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "seen-notes.txt").write_text("not ours\n")
        old: dict[str, str] = {}
        for number in range(arguments.kills):
            segment_s = SEGMENTS_S[number % 2]
            # Two seconds of video must be there before a part that is still written plays at all.
            wait = rng.uniform(0, arguments.longest) * (1 if segment_s < 1 else 3)
            rows.append(killed(folder, clip, segment_s, wait))
            now = hashes(folder)
            assert all(now.get(name) == value for name, value in old.items())  # nothing older was touched
            old = now
            assert rows[-1]["lines read back"] >= rows[-1]["lines on disk before"], rows[-1]
    total: dict[str, Any] = {key: sum(row[key] for row in rows) for key in rows[0]}
    result = {"clip": Path(clip).name or "rendered street", "kills": len(rows), **total, "old files changed": 0}
    print(table(["what", "figure"], [[k, str(v)] for k, v in result.items()]))
    if arguments.json:
        arguments.json.write_text(json.dumps(result))
    else:
        print(save("field_kill", result, where))


if __name__ == "__main__":
    main()

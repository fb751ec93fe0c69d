"""Ten thousand damaged files: containers, images, models, recipes, calibrations, sites, policies and records.

    python benchmarks/field_fuzz.py                 10,000 files, minutes
    python benchmarks/field_fuzz.py --count 300     the short version that the tests run

Each file is a valid one with bytes flipped, deleted, duplicated or inserted, or truncated; texts also lose,
duplicate and change their values. A reader must reject it with an EdgevidError, or read it as far as it is
valid.
Anything else (another exception, a crash, more than LIMIT_S seconds) is a finding, and its file is kept.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import multiprocessing
import queue
import random
import re
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table
from field_seeds import seeds

LIMIT_S = 20
"""Seconds for one file, on a busy machine."""
FRAMES = 40
"""Frames read of each damaged video."""
SHARES = {
    "container": 35, "image": 15, "model": 10, "recipe": 11, "site": 12, "calibration": 7, "policy": 5, "records": 5,
}  # fmt: skip
"""Files of each kind in a hundred."""
WORTH = (
    "0", "-1", "9", "1e308", "1e-308", "nan", "inf", "-inf", '""', "[]", "{}", "true", "9" * 40, "9" * 400,
    "9" * 5000, "[" * 2000, "[[1, 2]]", "\"\\u0000\"",
)  # fmt: skip
"""Values that texts are arguments."""


def read_container(path: Path) -> str:
    """A damaged video, its frames converted."""
    from edgevid.video.files import FileSource

    with FileSource(path) as video:
        for number, frame in enumerate(video):
            assert frame.image.shape == (frame.height, frame.width, 3)
            if number >= FRAMES:
                break
        return "read" if not video.corrupted else "read in part"


def read_image(path: Path) -> str:
    """A damaged image, alone in its folder."""
    from edgevid.video.images import ImageSource

    with ImageSource(str(path)) as images:
        return "read" if all(frame.image.size for frame in images) and not images.corrupted else "read in part"


def read_model(path: Path) -> str:
    """A damaged model: loaded, run on noise, and its decoder looked for."""
    from edgevid.models.draft import inspect

    with np.errstate(all="ignore"):  # weights may be anything
        return "read" if inspect(path).recipe else "read in part"


def read_recipe(path: Path) -> str:
    """A damaged recipe."""
    from edgevid.runtime.recipe import read_recipe as read

    read(path)
    return "read"


def read_site(path: Path) -> str:
    """A damaged site and what is built of it: zones with an object in them."""
    from edgevid.site.build import build_zones, load_site
    from edgevid.types import Tracks

    monitor = build_zones(load_site(path), (640, 360))
    if monitor is not None:
        for moment in range(3):
            left = 100.0 + 200 * moment
            tracks = Tracks.of(
                ids=[1], boxes=[[left, 100, left + 40, 200]], scores=[0.9], labels=[0], match=[0],
                age=[1.0], unseen=[0.0],
            )  # fmt: skip
            monitor.update(tracks, float(moment))
    return "read"


def read_calibration(path: Path) -> str:
    """A damaged calibration, evaluated for positions and scale errors."""
    from edgevid.speed.calibration_file import read_calibration as read

    calibration = read(path)
    pixels = np.array([[320.0, 200.0], [1.0, 1.0]])
    (
        calibration.to_ground(pixels),
        calibration.contains(pixels),
        calibration.scale_error(pixels),
        calibration.scaled_to(calibration.size),
    )
    return "read"


def read_policy(path: Path) -> str:
    """A damaged abstain policy."""
    from edgevid.abstain.file import read_policy as read

    read(path).policy()
    return "read"


def read_records(path: Path) -> str:
    """Damaged JSON lines."""
    from edgevid.output.records import read_jsonl

    count = sum(1 for _ in read_jsonl(path))
    return "read" if count else "empty"


READERS: dict[str, Callable[[Path], str]] = {
    "container": read_container, "image": read_image, "model": read_model, "recipe": read_recipe, "site": read_site,
    "calibration": read_calibration, "policy": read_policy, "records": read_records,
}  # fmt: skip


def mutated(data: bytes, rng: random.Random, *, text: bool) -> bytes:
    """`data` with one to eight damages; texts have fewer, so that much of them stays valid."""
    held = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3) if text else (1, 1, 2, 3, 5, 8))):
        held = bytearray(_damaged_text(held, rng) if text and rng.random() < 0.8 else _damaged(held, rng))
    return bytes(held)


def _damaged(held: bytearray, rng: random.Random) -> bytearray:
    if not held:
        return bytearray(rng.randbytes(9))
    # Headers contain the structure: half of all damage is there.
    at = rng.randrange(min(len(held), 2000) if rng.random() < 0.5 else len(held))
    long = rng.choice((1, 1, 2, 4, 16, 200, 5000))
    kind = rng.randrange(7)
    if kind == 0:
        held[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        held[at : at + long] = rng.randbytes(long)
    elif kind == 2:
        del held[at : at + long]
    elif kind == 3:
        held[at:at] = held[at : at + long]
    elif kind == 4:
        held[at:at] = rng.randbytes(long)
    elif kind == 5:
        held[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
    else:
        del held[at:]
    return held


def _damaged_text(held: bytearray, rng: random.Random) -> bytes:
    """A value, a key or a line of a text changed, lost or doubled."""
    lines = held.decode("utf-8", "replace").split("\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(5)
    values = list(re.finditer(r"-?\d+\.?\d*|\"[^\"]*\"|true|false", lines[at]))
    if kind <= 2 and values:
        found = rng.choice(values)
        lines[at] = lines[at][: found.start()] + rng.choice(WORTH) + lines[at][found.end() :]
    elif kind == 3:
        lines[at] = ""
    else:
        lines.insert(at, rng.choice(lines))
    return "\n".join(lines).encode()


class TooLong(BaseException):
    """The alarm went off."""


def examine(kind: str, path: Path) -> str:
    """The outcome of one file: "read", "rejected", ... or "FINDING: ..."."""
    from edgevid.errors import EdgevidError

    def ring(*_: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return READERS[kind](path)
    except EdgevidError as error:
        text = str(error)
        leaks = "secret" in text
        return (
            "FINDING: the password shows" if leaks else "rejected" if len(text) > 15 else f"FINDING: message {text!r}"
        )
    except TooLong:
        return f"FINDING: took over {LIMIT_S} s"
    except BaseException as error:
        return f"FINDING: {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)


def work(tasks: Any, answers: Any) -> None:
    """A process that examines files until it is stopped, or until one of them kills it."""
    faulthandler.enable()
    while (task := tasks.get()) is not None:
        kind, path = task
        answers.put((kind, path, examine(kind, Path(path))))


class Worker:
    """A process to examine files in, restarted whenever one of them killed or blocked it."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._tasks, self._answers = self._context.Queue(), self._context.Queue()
        self._process = self._context.Process(target=work, args=(self._tasks, self._answers), daemon=True)
        self._process.start()

    def examine(self, kind: str, path: Path) -> str:
        """The answer; a crash or a hang is one too."""
        self._tasks.put((kind, str(path)))
        end = time.monotonic() + 2 * LIMIT_S + 20
        while time.monotonic() < end:
            with suppress(queue.Empty):
                return str(self._answers.get(timeout=0.5)[2])
            if not self._process.is_alive():
                break
        code = self._process.exitcode
        self.close()
        self._start()
        return "FINDING: hangs" if code is None else f"FINDING: the process died ({code})"

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()


def fuzz(count: int, seed: int, folder: Path, keep: Path | None) -> dict[str, Any]:
    """Examines `count` damaged files; findings with the hash of their files."""
    good = folder / "good"
    good.mkdir()
    found: dict[str, Counter[str]] = {kind: Counter() for kind in READERS}
    findings: list[dict[str, str]] = []
    worker, known = Worker(), seeds(good)
    for kind, paths in known.items():
        for path in paths:
            assert worker.examine(kind, path) == "read", (path, worker.examine(kind, path))
    for kind, share in SHARES.items():
        for number in range(round(count * share / 100)):
            rng = random.Random(f"{seed} {kind} {number}")
            source = known[kind][number % len(known[kind])]
            path = (good if kind == "site" else folder) / f"x{source.suffix}"
            path.write_bytes(mutated(source.read_bytes(), rng, text=kind not in ("container", "image", "model")))
            answer = worker.examine(kind, path)
            found[kind]["finding" if answer.startswith("FINDING") else answer] += 1
            if answer.startswith("FINDING"):
                name = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
                findings.append({"kind": kind, "of": source.name, "number": str(number), "what": answer})
                print(findings[-1], flush=True)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{kind}-{name}{path.suffix}").write_bytes(path.read_bytes())
            path.unlink()
    worker.close()
    return {"files": sum(sum(c.values()) for c in found.values()), "outcomes": found, "findings": findings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files of findings")
    parser.add_argument("--json", type=Path, help="write the figures there instead of benchmarks/results/")
    arguments = parser.parse_args()
    where, began = conditions(), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        result = fuzz(arguments.count, arguments.seed, Path(scratch), arguments.keep)
    result["minutes"] = round((time.monotonic() - began) / 60, 1)
    heads = ["read", "read in part", "empty", "rejected", "finding"]
    rows = [[kind, *(str(counts[head]) for head in heads)] for kind, counts in result["outcomes"].items()]
    print(table(["kind", *heads], rows))
    print(f"{result['files']} files, {len(result['findings'])} findings, {result['minutes']} minutes")
    if arguments.json:
        arguments.json.write_text(json.dumps(result))
    else:
        print(save("field_fuzz", result, where))
    raise SystemExit(bool(result["findings"]))


if __name__ == "__main__":
    main()

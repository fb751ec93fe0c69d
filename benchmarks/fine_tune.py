"""What `edgevid train detector --from` gains on a camera's own images: the shipped detectors before and after.

    python benchmarks/fine_tune.py DATA          (DATA holds videos/)

93 frames of one road, labeled by eye, cut into five parts in order of time. Four are learned from (`--steps 100
--batch 16`), the AP50 of cars is of the fifth: the same camera at another time, as in fine-tuning it should be.
Each part is held out once.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
from bench import conditions, save, table
from detector_cases import EYE, eye
from tracker_peers import version

from edgevid.detect.detector import Detector
from edgevid.learn.detector.data import label_line, load, write_image
from edgevid.learn.detector.distributed import average_precisions
from edgevid.learn.detector.network import CLASSES

PARTS, STEPS = 5, 100
CAR = CLASSES.index("car")


def write_parts(data: Path, out: Path, held_out: int) -> None:
    """The frames by eye, in `out`/train and `out`/test."""
    cases = eye(data, EYE[0][0])
    for part, rows in enumerate(np.array_split(np.arange(len(cases)), PARTS)):
        for row in rows:
            frame, truth, neither = cases[row]
            lines = [label_line("car", box, weight) for boxes, weight in ((truth, 1), (neither, -1)) for box in boxes]
            folder = out / ("test" if part == held_out else "train")
            write_image(folder, f"part{part}_{row:05d}", frame.image, "".join(lines))


def tuned(folder: Path, size: str) -> tuple[float, float, float]:
    """AP50 of cars before and after, and the processor time of the training in seconds."""
    out = folder / size
    command = [sys.executable, "-m", "edgevid", "train", "detector", str(folder / "train"), "--from", size,
               "--out", str(out), "--steps", str(STEPS), "--batch", "16", "--held-out", "0"]  # fmt: skip
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    samples = load(folder / "test", CLASSES)
    before, after = (
        average_precisions(Detector.load(model, score_threshold=0.02, threads=1), samples)["car"]
        for model in (size, str(out / "recipe.toml"))
    )
    return before, after, end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    rows = []
    for size in ("street-nano", "street-small"):
        found = []
        for held_out in range(PARTS):
            with tempfile.TemporaryDirectory() as folder:
                write_parts(data, Path(folder), held_out)
                found.append(tuned(Path(folder), size))
                print(size, held_out, found[-1], flush=True)
        before, after, seconds = np.array(found).T
        each = ", ".join(f"{100 * b:.0f} to {100 * a:.0f}" for b, a in zip(before, after, strict=True))
        rows.append(
            [size, f"{100 * before.mean():.1f} %", f"{100 * after.mean():.1f} %", each, f"{np.median(seconds):.0f}"]
        )
    head = ["detector", "AP50 of cars before", "after", "of each part", "processor time, s"]
    print(table(head, rows))
    where = conditions({"torch": version("torch")}) | {"command": "python benchmarks/fine_tune.py DATA"}
    save("fine_tune", {"head": head, "rows": rows}, where)


if __name__ == "__main__":
    main()

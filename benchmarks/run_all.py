"""All benchmarks in one command: peers installed, results measured, tables and pages made.

    python benchmarks/run_all.py DATA              hours; DATA is the test data folder
    python benchmarks/run_all.py DATA --quick      under 15 minutes: those that README shows, and the cheap ones
    python benchmarks/run_all.py DATA --only tracker,speed
    python benchmarks/run_all.py DATA --list       names the commands, and runs nothing
    python benchmarks/run_all.py DATA --here       with this Python and the peers that it has; nothing is installed

Makes two environments under build/bench: edgevid with the peers that agree on one set of packages, and one of
Roboflow's `inference`, which does not. A peer that cannot be installed is named, and its row says so. Each benchmark
writes benchmarks/results/<name>.json with its conditions; afterwards benchmarks/tables.py writes the tables of README
and docs.
`python benchmarks/changes.py HEAD` then names what got worse. Exits with 1 where a benchmark fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS = (
    ("torch", "torchvision", "kornia", "supervision", "pyyaml", "requests", "psutil", "polars", "scipy"),
    # Without what they ask for: some want a rich or a numpy that edgevid and the others do not take, and pip would
    # choose years-old releases. What they need to run follows.
    ("--no-deps", "ultralytics", "ultralytics-thop", "trackers", "norfair", "boxmot", "trackeval"),
    ("--no-deps", "edgefirst-tracker"), ("--no-deps", "ioutrack"),
    ("pydeprecate", "gdown", "platformdirs", "loguru", "gitpython", "aiofiles", "beautifulsoup4", "tabulate"),
    ("--no-deps", "filterpy", "lapx"), ("openvino",), ("pycocotools",),
    ("paho-mqtt", "httpx", "redis", "confluent-kafka", "pg8000", "duckdb", "pyarrow", "scikit-learn"),
)  # fmt: skip
OWN = {"roboflow": ("inference-cpu",)}
QUICK = {
    "letterbox.py": "--source 1280x720",
    "tracker.py": "--frames 40 --rounds 1",
    "whole_frame.py": "",
    "whole_application.py {data}": "--rounds 1",
    "calibration_points.py": "",
    "speed.py --seeds 3 --python roboflow={roboflow}": "--seeds 1",
    "overlay.py": "",
    "records.py": "",
    "detector_quality.py {data}": "",
    "evaluate.py --only time": "",
    "lines.py judge --data {data}": "",
}
"""Scripts with their options, {data} and the names of OWN replaced, and the options that make them quick."""
FULL = [*QUICK, *"""tracking_quality.py {data} --cache build/bench/cache
decode.py
speed_errors.py --tracks 1000
speed_brno.py {data}/speed/brnocompspeed
speed_demo.py
speed_kitti.py {data}/tracks/kitti
abstain.py
levels.py
bands.py
unlike.py
unlike_boxes.py {data}
opinion.py
skeletons.py --data {data}/actions
falls.py --data {data}/actions
two_stream.py --data {data}/actions
long_videos.py --epochs 120
quantize.py {data}
quantize_static.py {data}
health.py --data {data}
gate.py
sinks.py
report.py
fleet.py --ultralytics
archive.py
field_budget.py
field_fuzz.py
field_kill.py
field_rtsp.py
field_http.py
field_latency.py
field_soak.py
cluster.py
review.py
mutants.py""".splitlines()]  # fmt: skip


def environment(name: str, groups: tuple[tuple[str, ...], ...]) -> Path:
    """The Python of an environment with these packages; what cannot be installed is named."""
    folder = ROOT / "build" / "bench" / name
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    for group in groups:
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *group], check=False, cwd=ROOT).returncode:
            print(f"not available, its rows will say so: {' '.join(group)}", flush=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="names of scripts, separated by commas")
    parser.add_argument("--here", action="store_true", help="use this Python and what it has, install nothing")
    parser.add_argument("--list", action="store_true", help="print the commands alone")
    given = parser.parse_args()
    chosen = [line for line in ([f"{line} {less}".rstrip() for line, less in QUICK.items()] if given.quick else FULL)
              if not given.only or line.split(".")[0] in given.only.split(",")]  # fmt: skip
    if not chosen:
        names = ", ".join(line.split(".")[0] for line in FULL)
        parser.error(f"--only: expected some of {names}, got {given.only}")
    if given.list:
        print(*chosen, sep="\n")
        return 0
    if given.here:
        python, places = Path(sys.executable), dict.fromkeys(OWN, Path(sys.executable))
    else:
        python = environment("main", ((".[dev]",), *PEERS))
        needed = [name for name in OWN if any(name in line for line in chosen)]
        places = {name: environment(name, (OWN[name],)) for name in needed}
    failed = []
    for line in chosen:
        begin = time.monotonic()
        words = line.format(data=given.data.resolve(), **places).split()
        done = subprocess.run([python, str(ROOT / "benchmarks" / words[0]), *words[1:]], cwd=ROOT, check=False)
        failed += [words[0]] * bool(done.returncode)
        print(f"{words[0]}: exit status {done.returncode}, {time.monotonic() - begin:.0f} s", flush=True)
    subprocess.run([python, "tables.py"], cwd=ROOT / "benchmarks", check=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

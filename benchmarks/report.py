"""A week of a busy camera through `edgevid report`: seconds and memory; V85 against light gates.

python benchmarks/report.py             a made week as JSON lines, SQLite and Parquet
python benchmarks/report.py --brno ../shared/data/speed/brnocompspeed
                                        V85 of real cars (see speed_brno.py) by hour and by shorter intervals

The week is drawn from a fixed seed: 15,000 vehicles per day with two rush hours, two lines' worth of
directions, a zone, speeds with errors and abstentions, standstills, and gaps of the stream. It goes
through the sinks that a run uses. Each command is a process of its own; its memory is the largest resident
set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time as clock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import speed_brno as brno
from bench import conditions, save, table

from edgevid.output import EventLines, ParquetSink, SqliteSink
from edgevid.report import Report, Store
from edgevid.types import KMH, Event, Header
from edgevid.types.event import utc_text

START = 1_772_406_000.0  # Monday, 2026-03-02, 00:00 in Berlin
DAYS, VEHICLES = 7, 15_000
HEADER = Header("gate", "rtsp://gate/1", START, run="gate-20260301T230000.000000Z")
BATCH = 2_000
MEASURE = """
import resource, sys
from edgevid.cli import main
try: main(sys.argv[1:])
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(peak, used.ru_utime + used.ru_stime, file=sys.stderr)
"""
V85 = """SELECT part, epoch(start), measured, v85, v85_low, v85_high, v50 FROM speeds
    WHERE v85 IS NOT NULL AND start IS NOT NULL ORDER BY ALL"""
NAMES = ("measured", "v85", "low", "high", "v50")


def week(days: int, vehicles: int) -> Iterator[list[Event]]:
    """The events of the week in order, in batches."""
    rng, number, inside = np.random.default_rng(17), 0, 0
    hours = np.array([1, 1, 1, 1, 2, 4, 8, 10, 9, 6, 5, 5, 6, 6, 6, 7, 9, 10, 8, 6, 4, 3, 2, 1], float)
    for day in range(days):
        share = hours * (0.6 if day > 4 else 1.0) * rng.normal(1, 0.03, 24)
        count = int(vehicles * share.sum() / hours.sum())
        times = 3600 * (rng.choice(24, count, p=share / share.sum()) + rng.random(count)) + 86400 * day
        found: list[tuple[float, str, dict[str, Any]]] = []
        for i, t in enumerate(np.sort(times).tolist()):
            lost = 86400 * day + 3 * 3600
            if lost < t < lost + 1200:  # every night the stream is away for twenty minutes
                continue
            found += vehicle(rng, t, day * 100_000 + i)
        found += [(lost, "stream-lost", {"reason": "the connection ended"}),
                  (lost + 1200, "stream-back", {"seconds": 1200.0})]  # fmt: skip
        batch = []
        for t, kind, values in sorted(found, key=lambda one: one[0]):
            number += 1
            if kind in ("enter", "leave"):
                inside += 1 if kind == "enter" else -1
                values["count"] = inside
            batch.append(Event(f"{HEADER.run}-{number:06d}", kind, utc_text(START + t), round(t, 4), "gate",  # type: ignore[arg-type]
                               HEADER.run, int(25 * t), **values))  # fmt: skip
            if len(batch) == BATCH:
                yield batch
                batch = []
        yield batch


def vehicle(rng: np.random.Generator, t: float, track: int) -> list[tuple[float, str, dict[str, Any]]]:
    """What one vehicle does from its first frame on."""
    forward, stands = rng.random() < 0.55, rng.random() < 0.01
    name = str(rng.choice(["car", "truck", "bus", "motorcycle", "person"], p=[0.83, 0.08, 0.03, 0.03, 0.03]))
    mps, sigma = rng.normal(14, 2) * (0.1 if name == "person" else 1), rng.gamma(4, 0.06)
    stay = 3 + 30 * stands + rng.gamma(2, 1)
    x, y = rng.normal(400 if forward else 900, 30), (300.0, 700.0) if forward else (700.0, 300.0)
    boxes = [(x - 40, v - 60, x + 40, v) for v in np.linspace(*y, 5).tolist()]
    about = {"track": track, "class_name": name, "confidence": 0.8}
    speed = {
        "speed_mps": round(mps + rng.normal(0, sigma), 4),
        "speed_sigma_mps": round(sigma, 4),
        "speed_heading_deg": 90.0,
    }
    if rng.random() < 0.12:
        speed = {"speed_reason": "UNCERTAIN"}
    line = {"direction": "forward" if forward else "backward"}
    whole = {"seconds": round(stay + 1, 3), "count": int(25 * stay)}
    found = [
        (t + 0.5, "enter", about | {"place": "junction", "box": boxes[1]}),
        (t + 0.5 + stay / 2, "cross", about | line | {"place": "gate", "box": boxes[2]}),
        (t + 0.5 + stay, "leave", about | {"place": "junction", "seconds": round(stay, 3), "box": boxes[3]}),
        (t + stay + 1, "track-speed", about | speed | {"box": boxes[4]}),
        (t + stay + 1, "track-ended", about | speed | whole | {"box": boxes[4], "first_box": boxes[0]}),
    ]  # fmt: skip
    if stands:
        found.append((t + 20, "stopped", about | {"place": "junction", "seconds": 10.0, "box": boxes[2]}))
    if speed.get("speed_mps", 0) > 16.7:
        found.append((t + 0.6 + stay, "speed-limit", about | speed | {"box": boxes[3]}))
    return found


def write(folder: Path, days: int, vehicles: int) -> int:
    """Writes the week by each sink; the number of events."""
    total = 0
    lines, base = EventLines(folder / "week.jsonl"), SqliteSink(folder / "week.db")
    sinks = (lines, base, ParquetSink(folder / "week", segment_s=1e9))
    for sink in sinks:
        sink.open(HEADER)
    lines._sync_s = 1e9  # no flush after each batch: writing is not what is measured
    base._base.execute("PRAGMA synchronous = OFF")
    for batch in week(days, vehicles):
        total += len(batch)
        for sink in sinks:
            sink.send(batch)
    lines._sync_s = 0.0
    for sink in sinks:
        sink.close()
    return total


def size_of(path: Path) -> float:
    """Megabytes of a file, or of a folder's files."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def timed(arguments: list[str], folder: Path) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak megabytes of a command in a process of its own."""
    began = clock.perf_counter()
    done = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, cwd=folder)
    wall = clock.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    peak, cpu = done.stderr.split()[-2:]
    return wall, float(cpu), int(peak) / 1024


def measure_week(days: int, vehicles: int, rounds: int, kept: Path | None) -> None:
    """The table of the week, in docs/report.md; `kept` is a folder for it, taken where it holds one."""
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = kept or Path(name)
        folder.mkdir(exist_ok=True)
        if not (folder / "week.jsonl").exists():
            write(folder, days, vehicles)
        total = (folder / "week.jsonl").read_bytes().count(b"\n") - 1
        for form, file in (("JSON lines", "week.jsonl"), ("SQLite", "week.db"), ("Parquet", "week")):
            report = ["report", file, "--every", "15m", "--timezone", "Europe/Berlin", "--out", "w.html", "--force"]
            runs = [timed(report, folder) for _ in range(rounds)]
            query = timed(["query", file, "SELECT kind, count(*) FROM events GROUP BY kind"], folder)
            wall, cpu, peak = np.median(runs, 0).tolist()
            found[form] = {"seconds": wall, "cpu": cpu, "peak mb": max(r[2] for r in runs), "all": runs, "query": query}
            rows.append([form, f"{size_of(folder / file):.0f}", f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}",
                         f"{query[0]:.1f}", f"{query[2]:.0f}"])  # fmt: skip
    head = [f"{total:,} events", "file, MB", "report, s", "CPU, s", "peak, MB", "query, s", "peak, MB"]
    print(table(head, rows))
    where = conditions() | {"command": f"python benchmarks/report.py --rounds {rounds}"}
    save("report", {"head": head, "rows": rows, "runs": found, "events": total}, where)


EVERY = (3600, 1800, 900, 300)
PARTS = {"crossing forward": "all tracks that cross the line", "matched forward": "tracks matched to a car"}


def measure_brno(data: Path) -> None:
    """V85 of a report against that of the light gates, by session and by shorter intervals.

    Reported are tracks that cross the gates' line, as a report by line does; among them are pieces and
    doubles of the given tracker. Those that the published protocol matches to a car are also reported alone.
    The truth is the V85 of all cars that the gates measured in the interval.
    """
    rows, found = [], []
    for folder in sorted(p.parent for p in data.glob("*/system_dubska_bmvc14.json.gz")):
        truth, given = (brno.load(folder / name) for name in ("gt_data.json.gz", "system_dubska_bmvc14.json.gz"))
        if len(truth["cars"]) > 500:  # else minutes
            found += intervals_of(folder.name, truth, given["cars"])
    for part, what in PARTS.items():
        for every in EVERY:
            cameras = dict.fromkeys(one["camera"] for one in found) if every == EVERY[0] else []
            for camera in [*cameras, ""]:
                chosen = [one for one in found if one["part"] == part and one["every"] == every
                          and camera in ("", one["camera"])]  # fmt: skip
                error = np.array([one["v85"] - one["truth"] for one in chosen])
                half = np.mean([one["high"] - one["low"] for one in chosen]) / 2
                held = np.mean([one["low"] <= one["truth"] <= one["high"] for one in chosen])
                near = (np.abs(error) <= 1).mean()
                rows.append([f"{what}, {every // 60} min, {camera or 'all cameras'}", f"{len(chosen)}",
                             f"{error.mean():+.2f}", f"{np.abs(error).mean():.2f}", f"{100 * near:.0f} %",
                             f"{half:.2f}", f"{100 * held:.0f} %"])  # fmt: skip
    head = ["V85 against light gates, km/h", "intervals", "mean error", "mean absolute", "within 1 km/h",
            "95 % interval is +-", "holds the gates' V85"]  # fmt: skip
    print(table(head, rows))
    where = conditions() | {"command": "python benchmarks/report.py --brno ../shared/data/speed/brnocompspeed"}
    save("report_brno", {"head": head, "rows": rows, "intervals": found}, where)


def intervals_of(camera: str, truth: dict[str, Any], cars: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """V85 and its interval by part and interval, with the gates' own, where there are cars enough for one."""
    calibration, click_px = brno.calibration_of(truth)
    speeds = brno.track_speeds(calibration, cars, truth["fps"], click_px)
    matched = {track for track, _ in brno.match(truth, calibration, cars)}
    gates = [(i["videoTime"], car["speed"]) for car in truth["cars"] if car["valid"]
             for i in car["intersections"] if i["measurementLineId"] == 0]  # fmt: skip
    passed, kmh = np.array(gates).T
    header, events = Header(camera, start=0.0, run=f"{camera}-1"), []
    for car in cars:
        crossed = brno.crossing(car, truth["measurementLines"][0], truth["fps"]) if len(car["frames"]) > 5 else None
        if crossed:
            events += events_of(header, car["id"], float(crossed[0]), speeds, len(events), car["id"] in matched)
    found = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "events.jsonl"
        with EventLines(path) as sink:
            sink.open(header)
            sink.send(events)
        with Store([path]) as store:
            for every in EVERY:
                Report(store, every)
                for part, start, *values in store.rows(V85):
                    there = kmh[(passed >= start) & (passed < start + every)]
                    if part in PARTS and len(there) >= 29 and not (every == EVERY[0] and start):
                        found.append({"camera": camera, "part": part, "every": every, "start": start,
                                      "gates": len(there), "truth": float(np.quantile(there, 0.85)),
                                      **dict(zip(NAMES, values, strict=True))})  # fmt: skip
    return found


def events_of(
    header: Header, track: int, time: float, speeds: dict[int, tuple[float, float]], number: int, matched: bool
) -> list[Event]:
    """A track's crossing and its end with the speed that was measured, both at the time of the crossing."""
    about: dict[str, Any] = {"speed_reason": "UNCERTAIN"}
    if track in speeds:
        mps, sigma = (v / KMH for v in speeds[track])
        about = {"speed_mps": mps, "speed_sigma_mps": sigma}
    kinds: list[tuple[Any, dict[str, Any]]] = [("track-ended", about)]
    kinds += [("cross", {"place": place, "direction": "forward"}) for place in ["crossing", *["matched"] * matched]]
    return [
        Event(f"{header.run}-{number + n:06d}", kind, utc_text(time), time, header.camera, header.run,
              track=track, class_name="car", **values)
        for n, (kind, values) in enumerate(kinds)
    ]  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--days", type=int, default=7)
    options.add_argument("--vehicles", type=int, default=15_000, help="per working day")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, help="keep the week here, and take one that is here")
    options.add_argument("--brno", type=Path, help="folder of BrnoCompSpeed: V85 against light gates instead")
    chosen = options.parse_args()
    if chosen.brno:
        measure_brno(chosen.brno)
    else:
        measure_week(chosen.days, chosen.vehicles, chosen.rounds, chosen.folder)


if __name__ == "__main__":
    main()

"""Many cameras in one process: eight real clips, paced at 25 fps, in overload; next to a process for each.

    python benchmarks/fleet.py                      20 s each, three times: the fleet, eight processes
    python benchmarks/fleet.py --soak 100000        eight cameras at full speed, this many frames in all
    python benchmarks/fleet.py --kills 20           eight RTSP cameras (needs GStreamer's RTSP server)
    python benchmarks/fleet.py --equal 150          results in a fleet and in runs of their own
    python benchmarks/fleet.py --choice             eight other clips: cameras at work at a time
    python benchmarks/fleet.py --batch              cameras on a stand-in device that charges for each call
    python benchmarks/fleet.py --ultralytics        the same clips by its predict on a .streams list, same ONNX file
    python benchmarks/fleet.py --before 5dc170a0^   one camera's cost now, and before there were fleets

"CPU" is processor time of the process, all threads, decoding included. Clips play again at their end.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table

from edgevid import Fleet, JsonLines, Site
from edgevid.run import fleet as room
from edgevid.run.engines import BatchedEngine, Turns
from edgevid.run.loop import Summary, run
from edgevid.runtime.engine import TensorSpec
from edgevid.site import build_pipeline, load_site
from edgevid.site.tables import StoreTable, build_sinks
from edgevid.video.files import FileSource
from edgevid.video.live import LiveSource

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests/support"))
from fake_engine import FakeEngine

VIDEOS = Path(__file__).resolve().parents[1] / "../shared/data/videos"
CLIPS = (
    "ahmetozlu_pedestrian_surveillance.mp4", "felix_exercise.avi", "intel_car-detection.mp4",
    "intel_one-by-one-person-detection.mp4", "kraten_speedcheck_cars.mp4", "pets09_s2l1_vtest.avi",
    "stuttgart_30fps.mp4", "vehicle_counting_tf_input.mp4",
)  # fmt: skip
FPS = 25.0
WARM_S = 4.0  # Loading and the first frames are not measured


class PacedClip(LiveSource):
    """A clip as a camera sends it: 25 fps, again and again, into a slot of the newest frame."""

    def _read(self) -> None:
        with FileSource(self.uri, loop=True, threads=1) as file:
            self._connected(file.size, FPS, "")
            for n, frame in enumerate(file):
                frame.time, frame.index = n / FPS, n
                self._sleep(max(0.0, n / FPS - self.now()))
                self._hand_on(frame)


def site(clip: str) -> Site:
    return Site(source=str(VIDEOS / clip), name=Path(clip).stem, model="street-nano")


def memory_mb() -> float:
    """Private and shared memory of this process, each shared page counted in part (PSS)."""
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024


def one_camera(clip: str, frames: int) -> dict[str, Any]:
    """CPU seconds of a result of a run alone, with one inference thread, each frame in turn."""
    loaded = load_site(site(clip))
    with FileSource(loaded.site.source, loop=True, threads=1) as video:
        pipeline, times = build_pipeline(loaded, video.size, threads=1), []
        run(pipeline, video, max_frames=frames, on_result=lambda *_: times.append((time.process_time(), time.time())))
    half = frames // 4
    return {"clip": clip, "cpu_s": (times[-1][0] - times[half][0]) / (frames - 1 - half)}


class Counted:
    """The results of a while, after a warm-up: how many, and how old each frame was at its result."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.begin, self.cpu_s = seconds, time.monotonic() + WARM_S, 0.0
        self.ages: dict[str, list[float]] = {}

    def add(self, name: str, source: Any, frame: Any) -> None:
        now = time.monotonic()
        if self.begin <= now < self.begin + self.seconds:
            self.ages.setdefault(name, []).append(source.now() - frame.time)

    def wait(self) -> None:
        time.sleep(max(0.0, self.begin - time.monotonic()))
        before = time.process_time()
        time.sleep(self.seconds)
        self.cpu_s = time.process_time() - before


def in_a_fleet(seconds: float, workers: int | None) -> dict[str, Any]:
    """All clips in one fleet."""
    room.open_video = lambda uri, **_: PacedClip(uri)  # type: ignore[assignment]
    counted = Counted(seconds)
    fleet = Fleet(
        map(site, CLIPS), workers=workers, threads=1,
        on_result=lambda camera, frame, _: counted.add(camera.name, camera.source, frame),
    )  # fmt: skip
    thread = threading.Thread(target=fleet.run)
    thread.start()
    counted.wait()
    memory, line = memory_mb(), fleet.line()
    fleet.close()
    thread.join()
    print(line)
    rates = {name: len(ages) / seconds for name, ages in counted.ages.items()}
    ages = [age for one in counted.ages.values() for age in one]
    return {
        "results_per_s": sum(rates.values()), "slowest_share": min(rates.values()) / max(rates.values()),
        "age_median_ms": 1000 * statistics.median(ages), "memory_mb": memory, "rates": rates,
        "cpu_s_per_result": counted.cpu_s / len(ages), "cores_used": counted.cpu_s / seconds,
    }  # fmt: skip


def _process(clip: str, seconds: float, start: Any, answers: Any) -> None:
    loaded = load_site(site(clip))
    with PacedClip(loaded.site.source) as video:
        video.wait()
        pipeline = build_pipeline(loaded, video.size, threads=1)
        start.wait()
        counted, summary = Counted(seconds), Summary()
        thread = threading.Thread(
            target=lambda: run(pipeline, video, summary=summary, on_result=lambda f, _: counted.add(clip, video, f))
        )
        thread.start()
        counted.wait()
        memory = memory_mb()
        video.close()
        thread.join()
    answers.put((clip, counted.ages.get(clip, []), memory, counted.cpu_s))


def as_processes(seconds: float) -> dict[str, Any]:
    """A process for each clip, with one inference thread each."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(len(CLIPS)), context.Queue()
    started = [context.Process(target=_process, args=(clip, seconds, start, answers)) for clip in CLIPS]
    for one in started:
        one.start()
    found = [answers.get(timeout=seconds + 120) for _ in started]
    for one in started:
        one.join()
    ages = [age for _, some, _, _ in found for age in some]
    rates = {clip: len(some) / seconds for clip, some, _, _ in found}
    return {
        "results_per_s": sum(rates.values()), "slowest_share": min(rates.values()) / max(rates.values()),
        "age_median_ms": 1000 * statistics.median(ages), "memory_mb": sum(memory for _, _, memory, _ in found),
        "cpu_s_per_result": sum(cpu for *_, cpu in found) / len(ages), "rates": rates,
    }  # fmt: skip


def equality(frames: int) -> dict[str, Any]:
    """Checksums of detections, tracks, speeds and verdicts of each clip in a fleet, and in runs of their own."""
    digests: dict[str, Any] = {}

    def add(name: str, result: Any) -> None:
        digest = digests.setdefault(name, hashlib.sha256())
        values = (result.time, result.detections, result.tracks, result.speeds.live, *result.verdicts.values())
        for value in values:
            columns = (
                [getattr(value, one) for one in value.__dataclass_fields__]
                if hasattr(value, "__dataclass_fields__")
                else [value]
            )
            digest.update(b"".join(one.tobytes() if hasattr(one, "tobytes") else repr(one).encode() for one in columns))

    Fleet(map(site, CLIPS), max_frames=frames, on_result=lambda camera, _, result: add(camera.name, result)).run()
    together = {name: one.hexdigest() for name, one in digests.items()}
    digests.clear()
    for clip in CLIPS:
        loaded = load_site(site(clip))
        with FileSource(loaded.site.source) as video:
            pipeline = build_pipeline(loaded, video.size)
            run(pipeline, video, max_frames=frames, on_result=lambda _, result, clip=clip: add(Path(clip).stem, result))
    equal = [name for name, one in digests.items() if one.hexdigest() == together[name]]
    print(f"{len(equal)} of {len(CLIPS)} clips equal to the bit over {frames} frames")
    return {"frames": frames, "equal": equal}


ALONE = """
import sys, time
from edgevid.run import run
from edgevid.site import Site, build_pipeline, load_site
from edgevid.video.files import FileSource
for clip in sys.argv[1:]:
    loaded, times = load_site(Site(source=clip, model="street-nano")), []
    with FileSource(clip, loop=True, threads=1) as video:
        pipeline = build_pipeline(loaded, video.size, threads=1)
        run(pipeline, video, max_frames=240, on_result=lambda *_: times.append(time.process_time()))
    print((times[-1] - times[39]) / 200)
"""


def before(revision: str, repeats: int = 7) -> dict[str, Any]:
    """CPU seconds of a result of one camera alone, of this tree and of a revision, in turns."""
    root, clips = Path(__file__).resolve().parents[1], [str(VIDEOS / clip) for clip in CLIPS]
    with tempfile.TemporaryDirectory() as made:
        files = subprocess.run(
            ["git", "-C", root, "archive", revision, "edgevid", "engines"], stdout=subprocess.PIPE, check=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", made], input=files, check=True)
        for built in (root / "edgevid/kernels").glob("_native*.so"):
            shutil.copy(built, Path(made, "edgevid/kernels"))
        trees: dict[str, Path] = {"before": Path(made), "now": root}
        costs: dict[str, list[list[float]]] = {name: [] for name in trees}
        for _ in range(repeats):
            for name, tree in trees.items():
                answer = subprocess.run(
                    [sys.executable, "-c", ALONE, *clips], cwd=tree, check=True, stdout=subprocess.PIPE, text=True,
                    env=os.environ | {"PYTHONPATH": str(tree)},
                ).stdout  # fmt: skip
                costs[name].append([float(line) for line in answer.split()])
    best = {name: np.median(some, 0) for name, some in costs.items()}
    ratio = float(np.mean(best["now"]) / np.mean(best["before"]))
    result = {name: float(np.mean(some)) for name, some in best.items()} | {"ratio": ratio, "revision": revision}
    print(result)
    return result


def overload(seconds: float, workers: int | None, *, peer: bool, repeats: int = 3) -> dict[str, Any]:
    """One camera alone, and in turns all in a fleet and a process for each: the median runs count."""
    alone = statistics.fmean(one_camera(clip, 160)["cpu_s"] for clip in CLIPS)
    runs: dict[str, list[dict[str, Any]]] = {"fleet": [], "processes": []}
    for _ in range(repeats):
        runs["fleet"].append(in_a_fleet(seconds, workers))
        runs["processes"].append(as_processes(seconds))
    found = {name: sorted(some, key=lambda run: run["results_per_s"])[repeats // 2] for name, some in runs.items()}
    if peer:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found["ultralytics"] = pool.submit(by_ultralytics, seconds).result()
    cores = len(os.sched_getaffinity(0))
    fleet = found["fleet"]
    bars = {
        "results/s over 0.9 x cores / CPU s alone": fleet["results_per_s"] / (0.9 * cores / alone),
        "results/s over processes": fleet["results_per_s"] / found["processes"]["results_per_s"],
        "memory over processes": fleet["memory_mb"] / found["processes"]["memory_mb"],
        "slowest over fastest": fleet["slowest_share"],
        "age in rounds of inference": fleet["age_median_ms"] / (1000 * len(CLIPS) / fleet["results_per_s"]),
    }
    rows = [
        [name, f"{one['results_per_s']:.1f}", f"{one['slowest_share']:.2f}",
         f"{one.get('age_median_ms', float('nan')):.0f}", f"{one['memory_mb']:.0f}",
         f"{1000 * one['cpu_s_per_result']:.1f}"]
        for name, one in found.items()
    ]  # fmt: skip
    print(table(["", "results/s", "slowest/fastest", "age ms", "MB", "CPU ms a result"], rows))
    print(f"alone: {1000 * alone:.1f} ms of CPU a result")
    print(table(["bar", "measured"], [[name, f"{value:.2f}"] for name, value in bars.items()]))
    every = {name: [run["results_per_s"] for run in some] for name, some in runs.items()}
    print(every)
    return {"clips": CLIPS, "seconds": seconds, "alone_cpu_s": alone, **found, "bars": bars, "results/s of runs": every}


def choice(seconds: float) -> dict[str, Any]:
    """Runs with several numbers of cameras at work, in turns, on clips that do not judge."""
    global CLIPS
    CLIPS = tuple(map(str, sorted((VIDEOS.parent / "actions/falls_gmdcsa24").glob("*.mp4"))[:8]))
    found: dict[str, list[dict[str, Any]]] = {}
    for workers in (2, 3, 4, 6) * 2:
        run = in_a_fleet(seconds, workers)
        found.setdefault(str(workers), []).append({name: run[name] for name in run if name != "rates"})
    print({workers: [round(run["results_per_s"], 1) for run in runs] for workers, runs in found.items()})
    return {"clips": [Path(clip).name for clip in CLIPS], "seconds": seconds, "workers": found}


def by_ultralytics(seconds: float) -> dict[str, Any]:
    """The same clips by ultralytics' predict on a .streams list: a thread reads each, a batch has one image of each."""
    import cv2
    from exports import _with_nms
    from ultralytics import YOLO

    from edgevid.models.hub import resolve_model

    class PacedCapture(cv2.VideoCapture):
        """A clip as a camera sends it."""

        begun, count = time.monotonic(), 0

        def grab(self) -> bool:
            self.count += 1
            time.sleep(max(0.0, self.begun + self.count / FPS - time.monotonic()))
            return super().grab() or (self.set(cv2.CAP_PROP_POS_FRAMES, 0) and super().grab())

        def get(self, number: int) -> float:
            return 0.0 if number == cv2.CAP_PROP_FRAME_COUNT else super().get(number)  # as of a stream

    cv2.VideoCapture = PacedCapture
    _with_nms()
    folder = Path(tempfile.mkdtemp())
    (folder / "all.streams").write_text("\n".join(str(VIDEOS / clip) for clip in CLIPS))
    model = YOLO(str(resolve_model("street-nano").local), task="detect")
    begin = end = time.monotonic() + WARM_S
    count, cpu_s = 0, 0.0
    for _ in model.predict(str(folder / "all.streams"), stream=True, imgsz=(256, 448), verbose=False, device="cpu"):
        end = time.monotonic()
        if end >= begin:
            cpu_s, count = cpu_s or time.process_time(), count + 1
        if end >= begin + seconds:
            break
    spent = (time.process_time() - cpu_s) / count
    return {"results_per_s": count / (end - begin), "slowest_share": 1.0, "memory_mb": memory_mb(),
            "cpu_s_per_result": spent}  # fmt: skip


def soak(frames: int) -> dict[str, Any]:
    """Eight files at full speed, again and again: resident memory, threads and descriptors over the frames."""
    samples: list[tuple[int, float, int, int]] = []
    counts: dict[str, int] = {}
    folder = Path(tempfile.mkdtemp())

    def add(camera: Any, *_: Any) -> None:
        counts[camera.name] = counts.get(camera.name, 0) + 1
        total = sum(counts.values())
        if total % (frames // 50) == 0:
            now = resource_mb(), threading.active_count(), len(os.listdir("/proc/self/fd"))
            samples.append((total, *now))

    room.open_video = lambda uri, **_: FileSource(uri, loop=True, threads=1)  # type: ignore[assignment]
    fleet = Fleet(map(site, CLIPS), threads=1, max_frames=frames // len(CLIPS), on_result=add,
                  sinks=lambda _: build_sinks([StoreTable("sqlite", folder / "soak.db")]))  # fmt: skip
    fleet.run(status_s=60)
    total = sum(counts.values())
    later = [one for one in samples if 0.2 * total < one[0] < 0.95 * total]
    n, mb = np.array([one[0] for one in later]), np.array([one[1] for one in later])
    slope = float(np.polyfit(n, mb, 1)[0] * 100_000)
    result = {
        "frames": total, "samples_mb": [round(one[1]) for one in samples], "mb": float(np.median(mb)),
        "slope_mb_per_100k": slope,
        "slope_share_per_100k": slope / float(np.median(mb)),
        "threads": sorted({one[2] for one in later}), "descriptors": sorted({one[3] for one in later}),
    }  # fmt: skip
    print(result)
    return result


def resource_mb() -> float:
    """Resident memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def kills(times: int) -> dict[str, Any]:
    """Eight RTSP cameras at 5 fps: one killed again and again, one sends garbage, one has a wrong password."""
    from rtsp_server import PACKAGES, PASSWORD, Camera, gstreamer_python, numbered

    assert gstreamer_python(), PACKAGES
    folder, stop = Path(tempfile.mkdtemp()), threading.Event()
    numbered((np.full((180, 320, 3), 40 + 4 * n, np.uint8) for n in range(40)), folder)
    garbage = socket.create_server(("127.0.0.1", 0))

    def chatter() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                reader, _ = garbage.accept()
                reader.sendall(os.urandom(65536))
                reader.close()

    threading.Thread(target=chatter, daemon=True).start()
    with contextlib.ExitStack() as stack:
        cameras = [stack.enter_context(Camera(folder, (320, 180), fps=5)) for _ in range(6)]
        uris = [one.uri for one in cameras] + [
            f"rtsp://127.0.0.1:{garbage.getsockname()[1]}/cam", cameras[0].uri.replace(PASSWORD, "wrong")
        ]  # fmt: skip
        times_of: dict[str, list[float]] = {}
        records = [JsonLines(folder / f"{n}.jsonl") for n in range(8)]
        fleet = Fleet(
            [Site(source=uri, name=str(n), model="street-nano") for n, uri in enumerate(uris)],
            sinks=lambda camera: [records[int(camera.name)]],
            on_result=lambda camera, *_: times_of.setdefault(camera.name, []).append(time.monotonic()),
        )  # fmt: skip
        thread = threading.Thread(target=fleet.run)
        thread.start()
        time.sleep(15)  # every camera is up
        calm = rates_of(times_of, time.monotonic() - 8)
        begin = time.monotonic()
        for _ in range(times):
            cameras[5].kill()
            time.sleep(0.5)
            cameras[5].start((320, 180))
            time.sleep(1.5)
        during = rates_of(times_of, begin)
        states = {row.name: (row.state, row.detail) for row in (camera.status() for camera in fleet.cameras)}
        counts = {camera.name: camera.summary.frames for camera in fleet.cameras}
        fleet.close()
        thread.join()
        stop.set()
    written = {
        str(n): sum('"edgevid.result' in line for line in (folder / f"{n}.jsonl").read_text().splitlines())
        for n in range(5)
    }
    result = {
        "kills": times, "rate_share": {name: during[name] / calm[name] for name in map(str, range(5))},
        "records_missing": sum(counts[name] - count for name, count in written.items() if count < counts[name]),
        "killed_camera_frames": counts["5"], "states": states,
    }  # fmt: skip
    print(result)
    return result


def rates_of(times: dict[str, list[float]], since: float) -> dict[str, float]:
    now = time.monotonic()
    return {name: sum(since <= one < now for one in list(some)) / (now - since) for name, some in times.items()}


def batches(seconds: float) -> dict[str, Any]:
    """Cameras on a stand-in device that takes 8 ms for each call, whatever its batch: results a second."""
    spec = (TensorSpec("images", (-1, 3, 256, 448), np.dtype(np.float32)),)
    found = {}
    for most in (1, 8):
        calls: list[int] = []

        def run_model(given: Any, calls: list[int] = calls) -> dict[str, Any]:
            calls.append(len(given["images"]))
            time.sleep(0.008)
            return {"y": given["images"][:, 0, 0, :1]}

        engine = FakeEngine(spec, (TensorSpec("y", (-1, 1), np.dtype(np.float32)),), run_model)
        turns = Turns(16)
        shared, count, end = BatchedEngine(engine, turns.working, most=most), [0] * 8, time.monotonic() + seconds

        def camera(n: int, shared: Any = shared, count: Any = count, end: float = end, turns: Any = turns) -> None:
            image = np.zeros((1, 3, 256, 448), np.float32)
            while time.monotonic() < end:
                with turns.turn(str(n)):
                    shared.run({"images": image})
                    count[n] += 1

        threads = [threading.Thread(target=camera, args=(n,)) for n in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        found[f"batch {most}"] = {
            "results_per_s": sum(count) / seconds, "mean_batch": sum(calls) / len(calls),
            "slowest_share": min(count) / max(count),
        }  # fmt: skip
    print(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--ultralytics", action="store_true")
    parser.add_argument("--soak", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--equal", type=int)
    parser.add_argument("--batch", action="store_true")
    parser.add_argument("--before", metavar="REVISION")
    parser.add_argument("--choice", action="store_true")
    given = parser.parse_args()
    os.environ["EDGEVID_SPOOL"] = tempfile.mkdtemp()
    where = conditions({"onnxruntime": version("onnxruntime")})
    if given.soak:
        save("fleet_soak", soak(given.soak), where)
    elif given.equal:
        save("fleet_equal", equality(given.equal), where)
    elif given.kills:
        save("fleet_kills", kills(given.kills), where)
    elif given.before:
        save("fleet_before", before(given.before), where)
    elif given.choice:
        save("fleet_choice", choice(min(given.seconds, 8.0)), where)
    elif given.batch:
        save("fleet_batch", batches(min(given.seconds, 5.0)), where)
    else:
        save("fleet", overload(given.seconds, given.workers, peer=given.ultralytics), where)


if __name__ == "__main__":
    main()

"""A whole application, from a video file to records: `edgevid run` and Ultralytics' `yolo track`, on the same weights.

    python benchmarks/whole_application.py DATA        (peer: pip install ultralytics, in the same environment)

Both read one ONNX file: YOLOX-nano with its decoding in the graph, in the form and with the metadata of an Ultralytics
export, so that each recognizes it by itself. Each program is a process of its own that decodes the clip, detects,
tracks with ByteTrack and writes the boxes with ids of each frame; edgevid runs also with its default tracker. They take
turns on one core. Seconds until the first record count from the start of the process; frames per second from the first
record to the end. Packages are the files of a package and of all that it requires, torch as it is installed here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from bench import conditions, save, table
from onnx import TensorProto, helper, numpy_helper
from packaging.requirements import Requirement

from edgevid.files.toml import read_toml
from edgevid.video import VideoWriter, open_video

ROOT = Path(__file__).resolve().parents[1]
SIDE, STRIDES = 416, (8, 16, 32)
FIGURES = ("frames/s", "s to the first record", "CPU s", "peak MB", "objects")
CLIP, FRAMES = "kraten_speedcheck_cars.mp4", 200
YOLO = """
import sys, types
try:
    import torchvision
except Exception:  # the registry's does not load next to every torch
    sys.modules["torchvision"] = stand_in = types.ModuleType("torchvision")
    from ultralytics.utils.nms import TorchNMS
    stand_in.ops = types.SimpleNamespace(nms=TorchNMS.nms)
from ultralytics.cfg import entrypoint
entrypoint()
"""
"""The command `yolo`; where torchvision does not load, with Ultralytics' own suppression in its place."""


def exported(source: Path, target: Path) -> None:
    """YOLOX's raw outputs as an Ultralytics export: RGB in 0..1 in, (1, 84, N) centers, sizes and scores out."""
    from edgevid.models import find_recipe

    model = onnx.load(source)
    graph = model.graph
    cells = [(SIDE // s, s) for s in STRIDES]
    grid = np.concatenate([np.stack(np.meshgrid(range(n), range(n)), -1).reshape(-1, 2) for n, _ in cells])
    step = np.concatenate([np.full((n * n, 2), s) for n, s in cells])
    constants = {
        "e_255": np.float32(255), "e_bgr": np.int64([2, 1, 0]), "e_grid": grid[None].astype(np.float32),
        "e_step": step[None].astype(np.float32), "e_axis": np.int64([2]),
        **{f"e_{n}": np.int64([n]) for n in (0, 2, 4, 5, 85)},
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    old_in, old_out = graph.input[0].name, graph.output[0].name
    before = [
        helper.make_node("Mul", ["rgb", "e_255"], ["e_scaled"]),
        helper.make_node("Gather", ["e_scaled", "e_bgr"], [old_in], axis=1),
    ]

    def part(name: str, start: int, end: int) -> Any:
        return helper.make_node("Slice", [old_out, f"e_{start}", f"e_{end}", "e_axis"], [name])

    after = [
        part("e_xy", 0, 2), part("e_wh", 2, 4), part("e_object", 4, 5), part("e_class", 5, 85),
        helper.make_node("Add", ["e_xy", "e_grid"], ["e_cell"]),
        helper.make_node("Mul", ["e_cell", "e_step"], ["e_center"]),
        helper.make_node("Exp", ["e_wh"], ["e_size"]), helper.make_node("Mul", ["e_size", "e_step"], ["e_sides"]),
        helper.make_node("Mul", ["e_class", "e_object"], ["e_scores"]),
        helper.make_node("Concat", ["e_center", "e_sides", "e_scores"], ["e_rows"], axis=2),
        helper.make_node("Transpose", ["e_rows"], ["output0"], perm=[0, 2, 1]),
    ]  # fmt: skip
    nodes = [*before, *graph.node, *after]
    inputs = [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, [1, 3, SIDE, SIDE])]
    outputs = [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 84, len(grid)])]
    made = helper.make_model(
        helper.make_graph(nodes, "yolox_nano", inputs, outputs, graph.initializer),
        opset_imports=model.opset_import, ir_version=model.ir_version,
    )  # fmt: skip
    names = find_recipe("yolox-nano-416").names
    about = {"description": "Ultralytics YOLOX-nano", "author": "Ultralytics", "task": "detect", "stride": "32",
             "batch": "1", "imgsz": f"[{SIDE}, {SIDE}]", "names": str(dict(enumerate(names)))}  # fmt: skip
    helper.set_model_props(made, about)
    onnx.checker.check_model(made)
    onnx.save(made, target)


def cut(source: Path, target: Path) -> None:
    """The first frames of a clip."""
    with open_video(str(source)) as video, VideoWriter(target, fps=25) as writer:
        for frame in video:
            if frame.index == FRAMES:
                break
            writer.write(frame.image, frame.time)


def edgevid(folder: Path, tracker: str) -> list[str]:
    call = [sys.executable, "-m", "edgevid", "run", "clip.mp4", "--model", "model.onnx", "--classes", "all"]
    return [*call, "--tracker", tracker, "--jsonl", str(folder / "records.jsonl"), "-q"]


def ultralytics(folder: Path) -> list[str]:
    call = [sys.executable, "-c", YOLO, "track", "model=model.onnx", "source=clip.mp4", f"imgsz={SIDE}", "task=detect"]
    return [*call, "tracker=bytetrack.yaml", "save=False", "save_txt=True", "verbose=False", f"project={folder}"]


AS_THERE = ["--conf", "0.1", "--track", "track_high_thresh=0.25", "--track", "new_track_thresh=0.25"]
"""The thresholds of bytetrack.yaml and of `yolo track`."""
CALLS: dict[str, Callable[[Path], list[str]]] = {
    "edgevid run, default tracker": lambda folder: edgevid(folder, "default"),
    "edgevid run, ByteTracker as there": lambda folder: [*edgevid(folder, "bytetrack"), *AS_THERE],
    "yolo track, bytetrack.yaml": ultralytics,
}


def written(folder: Path) -> tuple[int, int]:
    """Frames with a record so far, and objects in them."""
    lines = folder / "records.jsonl"
    if lines.exists():
        rows = [json.loads(line) for line in lines.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return max(0, len(rows) - 1), sum(len(row.get("objects", ())) for row in rows)
    files = list(folder.rglob("labels/*.txt"))
    return len(files), sum(len(file.read_text().splitlines()) for file in files)


def measured(call: list[str], folder: Path, work: Path) -> dict[str, float]:
    """One run of a program: seconds to the first record and to the end, CPU seconds, peak memory, objects."""
    folder.mkdir()
    quiet = {"OMP_NUM_THREADS": "1", "YOLO_OFFLINE": "1", "YOLO_CONFIG_DIR": str(work)}
    begin = time.perf_counter()
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(call, cwd=work, stdout=log, stderr=log, env={**os.environ, **quiet})
    first = 0.0
    while process.poll() is None and not first:
        first = time.perf_counter() - begin if written(folder)[0] else 0.0
        time.sleep(0.01)
    _, status, usage = os.wait4(process.pid, 0) if process.returncode is None else (0, process.returncode, None)
    end = time.perf_counter() - begin
    process.returncode = status
    assert status == 0, (folder / "log").read_text()[-2000:]
    assert usage is not None, "it ended before its first record was seen"
    frames, objects = written(folder)
    assert frames >= 0.9 * FRAMES, f"{call[2]}: records of {frames} frames"
    found = (frames - 1) / (end - first), first, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, objects
    return dict(zip(FIGURES, found, strict=True))


def installed_mb(packages: list[str]) -> float:
    """What packages and all that they require take, of those that are installed here."""
    todo, sizes = list(packages), dict[str, float]()
    while todo:
        name = todo.pop().lower().replace("_", "-").replace("opencv-python", "opencv-python-headless")
        name = name.replace("-headless-headless", "-headless")
        if name in sizes:
            continue
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        sizes[name] = sum(p.stat().st_size for f in found.files or () if (p := Path(str(f.locate()))).exists()) / 2**20
        needs = [Requirement(text) for text in found.requires or ()]
        todo += [one.name for one in needs if not one.marker or one.marker.evaluate({"extra": ""})]
    return sum(sizes.values())


def sizes() -> tuple[float, float]:
    """MB of edgevid's core and of ultralytics with the ONNX Runtime that it needs for such a file."""
    core = [Requirement(text).name for text in read_toml(ROOT / "pyproject.toml")["project"]["dependencies"]]
    files = [p for top in ("edgevid", "engines") for p in (ROOT / top).rglob("*") if p.is_file()]
    own = sum(p.stat().st_size for p in files if not {"__pycache__", "build"} & set(p.parts)) / 2**20
    return own + installed_mb(core), installed_mb(["ultralytics", "onnxruntime", "lap"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        work = Path(name)
        exported(given.data.resolve() / "models/yolox_nano_416.onnx", work / "model.onnx")
        cut(given.data.resolve() / "videos" / CLIP, work / "clip.mp4")
        runs: dict[str, list[dict[str, float]]] = {label: [] for label in CALLS}
        for n in range(given.rounds):
            for label, call in CALLS.items():
                folder = work / f"{list(CALLS).index(label)}-{n}"
                runs[label].append(measured(call(folder), folder, work))
    core, peer = sizes()
    head = ["640x360 to records, one core", *FIGURES[:-1], "objects in the records", "packages, MB"]
    rows = []
    for label, found in runs.items():
        values = [float(np.median([one[key] for one in found])) for key in FIGURES]
        cells = [f"{value:.{digits}f}" for value, digits in zip(values, (1, 2, 1, 0, 0), strict=True)]
        rows.append([label, *cells, f"{peer if label.startswith('yolo') else core:.0f}"])
    print(table(head, rows))
    packages = ("ultralytics", "torch", "onnxruntime", "opencv-python-headless")
    versions = {one: metadata.version(one) for one in packages}
    save("whole_application", {"head": head, "rows": rows, "frames": FRAMES, "runs": runs}, conditions(versions))


if __name__ == "__main__":
    main()

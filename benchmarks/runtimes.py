"""OpenVINO against ONNX Runtime on detectors: agreement of their boxes, and times of both in turn.

python benchmarks/runtimes.py FRAMES MODEL... (names or ONNX files); writes benchmarks/results/runtimes.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgevid.optimize.bench import GAIN, bench
from edgevid.optimize.compare.run import compare

RUNS = 40


def measure(model: str, data: str) -> dict[str, object]:
    """One row: agreement, milliseconds and processor time of both, and the one to take."""
    report, _ = compare(model, model, data, device="openvino", max_frames=60)
    ours, theirs = bench([model], data=data, runs=RUNS, warm_up=10, device=("cpu", "openvino")).timings
    times = {"onnxruntime": ours.at("inference", 50), "openvino": theirs.at("inference", 50)}
    faster = report.passed and times["openvino"] < GAIN * times["onnxruntime"]
    return {
        "model": model, "input": ours.shape, "boxes": report.task.count, "passed": report.passed,
        "agreement": round(report.agreement, 5), "ms": {name: round(ms, 2) for name, ms in times.items()},
        "ratio": round(times["openvino"] / times["onnxruntime"], 3),
        "cpu_ratio": round(theirs.cpu_ms / ours.cpu_ms, 3), "chosen": "openvino" if faster else "onnxruntime",
    }  # fmt: skip


def main(data: str, *models: str) -> None:
    rows = []
    for model in models:
        rows.append(measure(model, data))
        print(json.dumps(rows[-1]))
    conditions = dict(bench([models[0]], data=data, runs=1, warm_up=0, device="cpu").conditions)
    result = {"frames": Path(data).name, "runs": RUNS, "conditions": conditions, "models": rows}
    Path(__file__).with_name("results").joinpath("runtimes.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

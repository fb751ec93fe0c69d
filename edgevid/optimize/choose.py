"""Which runtime runs a model faster on this machine, and equally: the choice of `device="auto"`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgevid.errors import InputError
from edgevid.optimize.bench_subject import Timing
from edgevid.optimize.compare.run import compare, find_model
from edgevid.runtime.choice import Choice, Runtime, remember_choice

RUNTIMES: dict[str, Runtime] = {"cpu": "onnxruntime", "openvino": "openvino"}
"""Devices that a choice is made of, and what runs them."""
GAIN = 0.95
"""OpenVINO is taken below this share of ONNX Runtime's time: less is noise."""


def choose_runtime(
    model: str | Path, data: str | Path | None, timings: Sequence[Timing], *, threads: int | None = None
) -> Choice:
    """Verifies OpenVINO against ONNX Runtime on `data` as `edgevid compare` does, and remembers the faster.

    `timings` are those of both on the devices of RUNTIMES. InputError where one is missing, or without data.
    """
    if data is None:
        raise InputError("bench: --choose verifies the runtimes on frames, add --data VIDEO")
    found = find_model(model, None)
    times = {t.device: t.at("inference", 50) for t in timings if t.path == found.file}
    if missing := sorted(set(RUNTIMES) - set(times)):
        raise InputError(f"bench: --choose compares {' and '.join(RUNTIMES)}, {missing[0]} did not run")
    report, _ = compare(model, model, data, device="openvino", threads=threads)
    faster = times["openvino"] < GAIN * times["cpu"] and report.passed
    choice = Choice(
        "openvino" if faster else "onnxruntime", round(times["cpu"], 3), round(times["openvino"], 3),
        round(report.agreement, 5),
    )  # fmt: skip
    remember_choice(found.file, choice)
    return choice

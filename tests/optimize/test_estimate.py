"""`edgevid estimate`: counts worked by hand on made graphs, published counts of real ones, the roofline."""

from __future__ import annotations

import time

import pytest

from edgevid.errors import InputError
from edgevid.optimize.estimate import Cost, Device, Layer, device, devices, estimate, measure_this_cpu

COST = Cost(1, (Layer("c", "Conv", 4_000_000, 1000, 9000),), 5_000_000, 1000, 300, 700, 2000)
BOX = Device("box", "", {"fp32": 1.0, "int8": 5000.0}, gb_per_s=1.0, memory_gb=0.001)


def test_the_bound_is_the_greater_of_arithmetic_and_memory() -> None:
    slow = estimate(COST, BOX, "fp32")
    assert slow is not None
    assert (slow.bound_ms, slow.limit) == (5.0, "arithmetic")  # 5e6 operations at 1e9 a second
    assert slow.layers_ms == 5.0  # the layer's 4 ms are less than the whole's 5
    assert slow.memory_mb == pytest.approx((4 * (1000 + 2000) + 4 * 1000) / 1e6)
    quick = estimate(COST, BOX, "int8")
    assert quick is not None
    assert (quick.bound_ms, quick.limit) == (pytest.approx((1000 + 4 * 1000) / 1e6), "memory")
    assert quick.layers_ms == pytest.approx(10_000 / 1e6)  # 1000 weights and 9000 values, a byte each


def test_a_precision_without_hardware_has_no_row_and_little_memory_does_not_fit() -> None:
    assert estimate(COST, BOX, "fp16") is None
    big = Cost(1, (), 1, 10**6, 0, 0, 0)
    found = estimate(big, BOX, "fp32")
    assert found is not None
    assert not found.fits
    with pytest.raises(InputError, match="expected one of fp32, fp16, int8"):
        estimate(COST, BOX, "bf16")


def test_jetson_figures_follow_from_their_multiprocessors() -> None:
    for name, (count, ghz) in {"orin-nano": (8, 0.625), "orin-nx": (8, 0.918), "agx-orin": (16, 1.3)}.items():
        for precision, a_clock in {"fp32": 256, "fp16": 2048, "int8": 4096}.items():
            assert devices()[name].gflops[precision] == pytest.approx(count * ghz * a_clock, rel=1e-3)


def test_an_unknown_device_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'orin-nano'"):
        device("orin-nono")


def test_this_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", time.process_time)  # other programs' time does not count
    here = measure_this_cpu(0.02)
    assert set(here.gflops) == {"fp32", "int8"}
    assert 0.1 < here.gflops["fp32"] < 1e4
    assert 0.1 < here.gb_per_s < 1e4

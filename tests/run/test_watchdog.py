"""The watchdog: systemd is notified, a run that hangs is not alive."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgevid.run.loop import Summary
from edgevid.run.watchdog import Watchdog, notify


def test_systemd_hears_that_the_run_is_ready_lives_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notify("READY=1") is False  # nobody asked
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "n"))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        source = SimpleNamespace(live=False, dropped=0, corrupted=0)
        with Watchdog(source, Summary(), every_s=0.0):
            said = [listener.recv(4096).decode() for _ in range(3)]
        while said[-1] != "STOPPING=1":
            said.append(listener.recv(4096).decode())
    assert said[0].startswith("READY=1")
    assert "WATCHDOG=1" in said


def test_a_run_that_hangs_is_not_alive_and_one_that_waits_is() -> None:
    source, summary = SimpleNamespace(live=True, waiting=False, dropped=3, corrupted=0), Summary()
    watch = Watchdog(source, summary)
    assert watch.alive()  # models may load
    summary.frames = 1
    assert watch.alive()
    assert not watch.alive()
    source.waiting = True  # the camera is away: that is not the program's fault
    assert watch.alive()
    vars(source).update(now=lambda: 30.0, newest_at=10.0, lag_s=0.04, reconnections=2)
    line = watch.line()
    assert "dropped 3 since" in line
    assert "lag 40 ms; reconnected 2; no frame for 20 s" in line

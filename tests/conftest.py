"""Shared fixtures: the field data, where a checkout has it."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_once import made_once

if "PYTHONPATH" in os.environ:  # subprocesses run in other folders
    entries = os.environ["PYTHONPATH"].split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries)


def pytest_configure(config: pytest.Config) -> None:
    """With one process for each core, one thread each: threads that wait for each other take the others' cores. Ctrl-C
    works in the programs that tests start, though a shell ignores it for what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):
        for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}.items():
            os.environ.setdefault(name, value)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The order of the tests is random; its seed repeats it."""
    seed = config.getoption("randomly_seed", None)
    if seed is not None:
        terminalreporter.write_line(f"random order: --randomly-seed={seed} repeats it")


TEST_DATA = "EDGEVID_TEST_DATA"
"""Environment variable that names the folder of test data."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models, videos and annotations; skips where there is none."""
    given = os.environ.get(TEST_DATA)
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            f"no test data in {folder}: fetch the models and clips listed under 'Test data' in "
            f"CONTRIBUTING.md and set {TEST_DATA} to their folder"
        )
    return folder


@pytest.fixture(scope="session", autouse=True)
def spools(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test leaves events in the user's own spool."""
    os.environ["EDGEVID_SPOOL"] = str(tmp_path_factory.mktemp("spool"))


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Files are not flushed to the disk, which takes milliseconds each: no test cuts the power."""
    flush = os.fsync

    def written_later(handle: int) -> None:
        kind = os.fstat(handle).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a pipe or device still has its own error
            flush(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", written_later)
        yield


@pytest.fixture(autouse=True)
def nothing_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of one test is not masked in the messages of the next, which logs what was logged once before."""
    from edgevid import errors

    monkeypatch.setattr(errors, "_HIDDEN", set())
    errors.log_once.cache_clear()


@pytest.fixture(autouse=True)
def same_numbers(request: pytest.FixtureRequest) -> None:
    """The random numbers of a test are the same in any order: the generator RNG of its module begins again."""
    if (random := getattr(request.module, "RNG", None)) is not None:
        random.bit_generator.state = BEGINNINGS.setdefault(request.module.__name__, random.bit_generator.state)


BEGINNINGS: dict[str, dict[str, Any]] = {}
"""States of the generators, by module."""


@pytest.fixture(scope="session")
def street_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of the rendered street as a video file: people and vehicles without test data."""
    from edgevid.synthetic.render import RenderedStreet
    from edgevid.video.writer import VideoWriter

    def render(path: Path) -> None:
        with VideoWriter(path) as video:
            for frame in RenderedStreet(seconds=12):
                video.write(frame.image, frame.time)

    return made_once(tmp_path_factory, "street.mp4", render)


def lacks(reason: str) -> None:
    """Skips, or fails where EDGEVID_REQUIRE=trt promises a machine with a device and TensorRT."""
    if "trt" in os.environ.get("EDGEVID_REQUIRE", "").split(","):
        pytest.fail(f"EDGEVID_REQUIRE=trt, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def device_backend() -> str:
    """The installed TensorRT of a machine with an NVIDIA device; see `lacks` for one without."""
    from edgevid.optimize.builder.engine import choose_backend, installed_version
    from edgevid.runtime.device import gpus

    backend = choose_backend()
    if not gpus():
        lacks("no NVIDIA driver was found")
    if not installed_version(backend):
        lacks("TensorRT is not installed")
    return backend

"""Shared fixtures: the field data, where a checkout has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

if "PYTHONPATH" in os.environ:  # subprocesses run in other folders
    entries = os.environ["PYTHONPATH"].split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries)


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


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of one test is not masked in the messages of the next."""
    monkeypatch.setattr("edgevid.errors._HIDDEN", set())


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

    path = tmp_path_factory.mktemp("street") / "street.mp4"
    with VideoWriter(path) as video:
        for frame in RenderedStreet(seconds=12):
            video.write(frame.image, frame.time)
    return path


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

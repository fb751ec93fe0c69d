"""Two programs, one file: the second one stops with a sentence that names the first; what a killed one left goes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgevid.files.atomic import InUseError, atomic_path, claim, sweep, write_atomic
from edgevid.health import CameraHealth
from edgevid.output.recordings import Recorder
from edgevid.output.sinks import CsvSink, EventLines, JsonLines, MotText
from edgevid.run.archive import alone

HOLD = "import sys, time; from pathlib import Path; {code}; print('held', flush=True); time.sleep(600)"


@contextmanager
def another(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that runs `code` with `path`, and then waits."""
    call = [sys.executable, "-c", HOLD.format(code=code.replace("PATH", "Path(sys.argv[1])")), str(path)]
    program = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=path.parent)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "held\n"
        yield program
    finally:
        program.kill()
        program.wait()


def archived(path: Path) -> Any:
    with alone(path):
        pass


OUTPUTS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a.jsonl": ("from edgevid.output.sinks import JsonLines as Sink; s = Sink(PATH)", JsonLines),
    "a.csv": ("from edgevid.output.sinks import CsvSink as Sink; s = Sink(PATH)", CsvSink),
    "a.txt": ("from edgevid.output.sinks import MotText as Sink; s = Sink(PATH)", MotText),
    "e.jsonl": ("from edgevid.output.sinks import EventLines as Sink; s = Sink(PATH, append=True)",
                lambda path: EventLines(path, append=True)),
    "recordings": ("from edgevid.output.recordings import Recorder as R; s = R(PATH, camera='gate')",
                   lambda path: Recorder(path, camera="gate")),
    "health": ("from edgevid.health import CameraHealth as H; s = H(PATH)", CameraHealth),
    "archive": ("from edgevid.run.archive import alone; s = alone(PATH); s.__enter__()", archived),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_second_program_stops_and_names_the_first(tmp_path: Path, name: str) -> None:
    code, make = OUTPUTS[name]
    with another(code, tmp_path / name) as program:
        before = (tmp_path / name).read_bytes() if (tmp_path / name).is_file() else b""
        with pytest.raises(InUseError, match=rf"process {program.pid} \(.*python.*\) is using it; end that one"):
            make(tmp_path / name)
        assert ((tmp_path / name).read_bytes() if (tmp_path / name).is_file() else b"") == before
        program.send_signal(signal.SIGKILL)
        program.wait()
        made = make(tmp_path / name)  # a killed program holds nothing
        if hasattr(made, "close"):
            made.close()


def test_two_cameras_record_into_one_folder_and_two_programs_of_one_camera_do_not(tmp_path: Path) -> None:
    gate, yard = Recorder(tmp_path, camera="gate"), Recorder(tmp_path, camera="yard")
    with pytest.raises(InUseError, match="is using it"):
        Recorder(tmp_path, camera="gate")
    gate.close()
    yard.close()
    Recorder(tmp_path, camera="gate").close()


def test_a_claim_waits_as_long_as_it_may(tmp_path: Path) -> None:
    with another("from edgevid.files.atomic import claim; claim(PATH)", tmp_path):
        begun = time.monotonic()
        with pytest.raises(InUseError):
            claim(tmp_path, wait_s=0.2)
        assert time.monotonic() - begun >= 0.2


def test_a_killed_program_leaves_a_part_that_the_next_one_deletes(tmp_path: Path) -> None:
    code = "from edgevid.files.atomic import atomic_path; c = atomic_path(PATH); c.__enter__().write_text('x')"
    with another(code, tmp_path / "gate.toml") as program:
        assert len([*tmp_path.iterdir()]) == 1
        sweep(tmp_path)
        assert len([*tmp_path.iterdir()]) == 1  # it is written now
        program.send_signal(signal.SIGKILL)
        program.wait()
        write_atomic(tmp_path / "other.json", "y")
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


def test_a_new_file_with_a_secret_is_the_users_own(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "site.toml", mode=0o600) as new:
        assert new.stat().st_mode & 0o777 == 0o600
        new.write_text("secret")
    assert (tmp_path / "site.toml").stat().st_mode & 0o777 == 0o600

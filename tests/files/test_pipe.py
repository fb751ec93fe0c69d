"""What is given as a file and is none: pipes are copied, devices are a sentence, and no wait is without an end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from edgevid.cli.command_line import run_program
from edgevid.errors import SourceError
from edgevid.files import pipe, read_toml


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "some.toml")
    return tmp_path / "some.toml"


def test_files_folders_and_other_texts_stay_what_they_are(tmp_path: Path) -> None:
    for one in (tmp_path, Path(__file__), "http://gate/1", "./nothing-there", "a\0b", "SELECT 1" * 9999):
        assert pipe.readable(one) is one


def test_a_pipe_is_copied_to_its_end(fifo: Path) -> None:
    threading.Thread(target=fifo.write_bytes, args=[b"a = 1\n" + b"# " * 500_000], daemon=True).start()
    copy = pipe.readable(str(fifo))
    assert isinstance(copy, str)
    assert Path(copy).name == fifo.name
    assert Path(copy).parent.stat().st_mode & 0o777 == 0o700  # it may hold a secret
    assert read_toml(copy) == {"a": 1}
    assert Path(copy).stat().st_size == 1_000_006


def test_a_pipe_without_a_writer_or_without_an_end_is_a_sentence(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "SILENCE_S", 0.05)
    with pytest.raises(SourceError, match=r"some\.toml: expected up to .* from a pipe, got nothing for 0\.05 s"):
        read_toml(fifo)
    monkeypatch.setattr(pipe, "SILENCE_S", 30.0)
    monkeypatch.setattr(pipe, "MOST", 100_000)
    both = os.open(fifo, os.O_RDWR)  # so that the writer, which is cut off, gets no signal
    writer = threading.Thread(target=os.write, args=[both, bytes(1 << 20)])
    writer.start()
    with pytest.raises(SourceError, match="expected up to 100,000 bytes from a pipe, got more"):
        pipe.readable(fifo)
    while writer.is_alive():
        os.read(both, 1 << 20)
    os.close(both)


@pytest.mark.parametrize("command", [
    "evaluate counting {0} --truth {0}", "tune policy {0}", "report {0}", "forget {0} --before 2020-01-01",
    "schema {0}", "inspect {0}", "fleet {0}", "run street.mp4 --site {0}", "calibrate a.mp4 --pairs {0}",
])  # fmt: skip
def test_no_command_reads_from_a_device(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    assert run_program("edgevid", command.format(tmp_path / "zero.csv").split()) == 2
    assert "zero.csv: expected a file, got a device" in " ".join(capsys.readouterr().err.split())

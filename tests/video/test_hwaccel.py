"""Decoding on a device: without one the CPU decodes, and a note says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import av
import pytest
from video_clips import write_clip

from edgevid.errors import InputError
from edgevid.video.files import FileSource
from edgevid.video.frames import hardware


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose FFmpeg knows CUDA and VAAPI, and that has neither."""

    def missing(name: str, **_: Any) -> Any:
        raise av.FFmpegError(1, "no such device")

    monkeypatch.setattr("edgevid.video.frames.HWAccel", missing)
    monkeypatch.setattr("edgevid.video.frames.hwdevices_available", lambda: ["vdpau", "cuda", "vaapi"])


@pytest.mark.parametrize("decode", ["auto", "cuda", "vaapi", "videotoolbox"])
def test_without_a_device_the_cpu_decodes_and_a_note_says_so(
    no_device: None, decode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "a.mp4", [0.0, 0.04, 0.08])
    with caplog.at_level(logging.WARNING, "edgevid"), FileSource(path, decode=decode) as video:
        assert len(list(video)) == 3
    assert f"decoding on the CPU: no device for --decode {decode} (this FFmpeg knows cuda, vaapi)" in caplog.text


def test_the_first_device_that_opens_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Device:
        def __init__(self, name: str, **_: Any) -> None:
            tried.append(name)
            self.name = name

        def create(self, codec: av.Codec) -> None:
            if self.name != "vaapi":
                raise av.FFmpegError(1, "no such device")

    monkeypatch.setattr("edgevid.video.frames.HWAccel", Device)
    monkeypatch.setattr("edgevid.video.frames.hwdevices_available", lambda: ["vaapi", "cuda", "qsv"])
    assert hardware("auto").name == "vaapi"
    assert tried == ["cuda", "vaapi"]
    assert hardware("cpu") is None


def test_an_unknown_device_is_rejected() -> None:
    with pytest.raises(InputError, match=r"decode: expected one of auto, cpu, cuda, .*, got 'gpu'"):
        hardware("gpu")

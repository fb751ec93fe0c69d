"""How an address is opened: transports of RTSP, session files, and what is no camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from numbered_clips import number_in
from rtp_camera import SDP, sending, udp_only_server
from rtsp_server import free_port

from edgevid.errors import InputError, SourceError
from edgevid.video.connect import Connector, Hooks
from edgevid.video.live import LiveSource
from edgevid.video.open import open_video

QUICK = {"stall_s": 3.0, "min_backoff_s": 0.02, "max_backoff_s": 0.1, "give_up_s": 10.0}


def successive(source: Any, count: int) -> list[int]:
    """The numbers of so many frames."""
    found = [number_in(frame.image) for _, frame in zip(range(count), source, strict=False)]
    assert found == sorted(set(found))
    return found


def test_a_camera_that_rejects_tcp_is_read_by_udp() -> None:
    with udp_only_server() as (port, transports), LiveSource(f"rtsp://127.0.0.1:{port}/cam", **QUICK) as source:
        assert len(successive(source, 5)) == 5
    assert [name.partition(";")[0] for name in transports] == ["RTP/AVP/TCP", "RTP/AVP/UDP"]
    assert source.events[0][1:] == ("lost", "the camera rejects RTSP over TCP: UDP is tried")
    assert source.events[1].kind == "connected"


def test_udp_by_option_is_tried_first() -> None:
    with (
        udp_only_server() as (port, transports),
        LiveSource(f"rtsp://127.0.0.1:{port}/cam", rtsp_transport="udp", **QUICK) as source,
    ):
        assert len(successive(source, 5)) == 5
    assert [name.partition(";")[0] for name in transports] == ["RTP/AVP/UDP"]


def test_a_session_file_is_a_live_stream(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "cam.sdp").write_text(SDP.format(port=port))
    with sending(port), open_video(tmp_path / "cam.sdp", **QUICK) as source:
        assert source.live
        assert len(successive(source, 5)) == 5


@pytest.mark.parametrize("uri", ["97", "/dev/video97"])
def test_a_camera_that_is_not_there_is_said_at_once(uri: str) -> None:
    with (
        LiveSource(uri) as source,
        pytest.raises(SourceError, match=f"{uri}: no frame: there is no such device: /dev/video97; `ls /dev"),
    ):
        next(iter(source))


def test_an_unknown_transport_is_rejected() -> None:
    with pytest.raises(InputError, match="rtsp_transport: expected tcp or udp, got 'http'"):
        LiveSource("rtsp://gate/1", rtsp_transport="http")


def test_ffmpeg_gets_the_password_encoded_and_each_scheme_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr("av.open", lambda source, **options: opened.append((source, options)))

    def quiet(*_: Any) -> None:
        """Nothing."""

    hooks = Hooks(quiet, quiet, quiet, quiet, quiet)
    for uri in ("rtsp://admin:12/S3 cret@10.0.0.5:554/cam", "RTSPS://gate/1", "srt://gate:9000", "/dev/video3"):
        Connector(uri, hooks, stall_s=4.0, transport="udp").connect()
    addresses = [source for source, _ in opened]
    assert addresses == [
        "rtsp://admin:12%2FS3%20cret@10.0.0.5:554/cam", "RTSPS://gate/1", "srt://gate:9000", "/dev/video3"
    ]  # fmt: skip
    options = [options.get("options", {}) for _, options in opened]
    assert [one.get("rtsp_transport") for one in options] == ["udp", "udp", None, None]
    assert [one.get("tls_verify") for one in options] == [None, "1", None, None]
    assert options[0]["timeout"] == "4000000"
    assert opened[3][1]["format"] == "v4l2"

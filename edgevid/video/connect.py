"""Opens the address of a camera or stream, by what it turns out to be: the connection of a live source."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import av

from edgevid.errors import InputError
from edgevid.video.address import network_address
from edgevid.video.hls import HlsStream
from edgevid.video.http import HttpClient, HttpStream, PermanentError, trusted_certificates

Transport = Literal["tcp", "udp"]
NOMINAL = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v", "jpeg_pipe", "image2pipe")
"""FFmpeg's formats whose time stamps are counted frames."""
QUICKLY = {"analyzeduration": "1000000", "fpsprobesize": "0"}
"""FFmpeg reads this much to learn a live stream's format; what it reads comes no faster than it is filmed."""
PLAYLIST = b"#EXTM3U"
PAGES = (b"<!doctype html", b"<html")  # How they begin: servers state wrong content types
SEGMENTS_STALL = 5  # FFmpeg's own HLS reader may wait this many times longer for a frame: for the next segment


@dataclass
class Connection:
    """An open address, and how its frames are to be taken."""

    kind: Literal["live", "paced", "file", "images"]
    """Live: only the newest frame counts; paced: in order, at the stream's own pace; file: in order, to its
    end; images: the address is polled."""
    container: Any = None
    stream: Any = None
    """The bytes behind the container, where Python reads them."""
    nominal: bool = False
    """Whether time stamps are counted frames."""

    def close(self) -> None:
        """Closes both."""
        for part in (self.container, self.stream):
            if part is not None:
                part.close()


@dataclass
class Hooks:
    """What a connection calls while it reads: each may raise to end it."""

    check: Callable[[], None]
    """Before each read: raises when the source is closed."""
    check_alive: Callable[[], None]
    """The same for a live stream, and raises without frames for too long."""
    wait: Callable[[float], None]
    """Sleeps, and raises when the source is closed meanwhile."""
    report: Callable[[Any, str], Any]
    retry: Callable[[Exception], None]
    """A file's connection broke: waits before the next attempt."""


class Connector:
    """Opens one address again and again, and remembers what must not be read twice."""

    def __init__(self, uri: str, hooks: Hooks, *, stall_s: float, transport: str, hwaccel: Any = None) -> None:
        """`transport` of RTSP, tcp or udp; a server that rejects tcp gets udp."""
        if transport not in get_args(Transport):
            raise InputError(f"rtsp_transport: expected tcp or udp, got {transport!r}")
        self._hooks, self._stall_s, self._transport = hooks, stall_s, transport
        self.hwaccel = hwaccel
        self.address = network_address(uri)
        self._after: int | None = None  # The last HLS segment that was read
        self._client: HttpClient | None = None
        self._stream: Any = None
        self.finite = False  # Whether an HTTP address of unknown length has turned out to be a recording
        self._before = b""

    def connect(self) -> Connection:
        """The open address; PermanentError where it never will be, other exceptions where it is not now."""
        address = self.address
        if re.match(r"(?i)https?://", address):
            return self._http()
        if re.fullmatch(r"\d+", address) or address.startswith("/dev/video"):
            return self._camera(f"/dev/video{address}" if address.isdigit() else address)
        options: dict[str, str] = {}
        if re.match(r"(?i)rtsps?://", address):
            # No "nobuffer": it throws away what was read to learn the format, the first key frame with it,
            # and a camera that sends one in ten seconds then shows nothing for as long.
            options = {"rtsp_transport": self._transport, "analyzeduration": "500000", "fpsprobesize": "0"}
            options["timeout"] = str(round(1e6 * self._stall_s))
        if address.lower().startswith("rtsps"):
            options |= {"tls_verify": "1", **trusted_certificates()}
        if address.lower().endswith(".sdp") and "://" not in address:
            options["protocol_whitelist"] = "file,rtp,udp,crypto,data"
        try:
            return Connection("live", self._open(address, options=options))
        except av.FFmpegError as error:
            if self._transport == "udp" or "rtsp_transport" not in options or not _transport_refused(error):
                raise
            self._transport = "udp"
            self._hooks.report("lost", "the camera rejects RTSP over TCP: UDP is tried")
            return self.connect()

    def abort(self) -> None:
        """Ends a read that waits in another thread, where Python reads."""
        if self._client is not None:
            self._client.abort()

    def remember(self) -> None:
        """Notes how far an HLS stream was read."""
        if isinstance(self._stream, HlsStream):
            self._after = self._stream.after

    def sent_a_recording(self, connection: Connection) -> bool:
        """Whether the end of a stream was that of a recording: marked as one by HTTP, or come once before.

        HTTP marks the end of a body in chunks; another one may have been cut off. No camera sends the same
        bytes twice.
        """
        if not isinstance(stream := connection.stream, HttpStream):
            return False
        before, self._before = self._before, stream.begin
        return stream.begin == before or stream.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _open(self, source: Any, *, stall_s: float = 0.0, **options: Any) -> Any:
        limit_s = stall_s or self._stall_s
        if self.hwaccel is not None:
            options["hwaccel"] = self.hwaccel
        return av.open(source, timeout=(limit_s, limit_s), **options)

    def _camera(self, device: str) -> Connection:
        try:
            return Connection("live", self._open(device, format="v4l2"))
        except FileNotFoundError:
            raise PermanentError(f"there is no such device: {device}") from None

    def _http(self) -> Connection:
        client = self._client = HttpClient(self.address, timeout_s=self._stall_s)
        hooks = self._hooks
        response = self._stream = HttpStream(client, check=hooks.check_alive)
        kind, head = response.content_type, response.peek()
        playlist = "mpegurl" in kind or response.url.partition("?")[0].lower().endswith((".m3u8", ".m3u"))
        if kind.startswith("multipart/") or head.startswith(b"--"):
            response.length = None  # some cameras state one
            return Connection("live", self._open(response, format="mpjpeg"), response, nominal=True)
        if playlist or head.startswith(PLAYLIST):
            return self._hls(client, response)
        if head.lower().startswith(PAGES):
            raise PermanentError("expected a video, the address shows a web page")
        if kind.startswith("image/") and head[4:8] != b"ftyp":
            return Connection("images", stream=response)
        if response.length is not None or self.finite:
            response.read_on(hooks.retry, hooks.check)
            return Connection("file", stream=response)
        jpegs: Any = {"format": "mjpeg"} if head.startswith(b"\xff\xd8") else {}
        container = self._open(response, options=QUICKLY, **jpegs)
        # A container that announces its end is a recording, though the server does not tell its length.
        finite = container.duration is not None and container.format.name.startswith(("mov", "matroska"))
        return Connection("file" if finite else "live", container, response, container.format.name in NOMINAL)

    def _hls(self, client: HttpClient, response: HttpStream) -> Connection:
        hooks, seen = self._hooks, self._after
        stream = HlsStream(
            client, response, after=seen, stall_s=self._stall_s, check=hooks.check, wait=hooks.wait,
            report=hooks.report, retry=hooks.retry,
        )  # fmt: skip
        self._stream = stream
        if stream.playlist.encrypted:
            limit_s = SEGMENTS_STALL * self._stall_s
            container = self._open(self.address, stall_s=limit_s, options=trusted_certificates())
            return Connection("file" if container.duration else "paced", container)
        if stream.ended:
            return Connection("file", stream=stream)
        return Connection("paced", self._open(stream, options=QUICKLY), stream)


def _transport_refused(error: av.FFmpegError) -> bool:
    """Whether an RTSP server answered 461, Unsupported Transport."""
    return "protocol not supported" in str(error).lower() or "461" in str(error)

"""Opens the address of a camera or stream, by what it turns out to be: the connection of a live source."""

import io
import re
import time as clock
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import quote

import av

from edgevid.errors import InputError, SourceError, login_length
from edgevid.files.toml import read_toml
from edgevid.types import Array
from edgevid.video.hls import HlsStream, Hooks
from edgevid.video.http import HttpClient, HttpError, HttpStream, PermanentError, read_whole, trusted_certificates
from edgevid.video.images import read_image
from edgevid.video.wire import Wire

Transport = Literal["tcp", "udp"]
NOMINAL = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v", "jpeg_pipe", "image2pipe")  # Their stamps are counted frames
QUICKLY = {"analyzeduration": "1000000", "fpsprobesize": "0"}
"""FFmpeg reads this much to learn a live stream's format; what it reads comes no faster than it is filmed."""
PLAYLIST = b"#EXTM3U"
PAGES = (b"<!doctype html", b"<html")  # How they begin: servers state wrong content types
SEGMENTS_STALL = 5  # FFmpeg's own HLS reader may wait this many times longer for a frame: for the next segment
NETWORK = re.compile(r"(?i)[a-z][a-z0-9+.-]*://")  # How the address of a stream in a network begins
SESSION = re.compile(r"(?is)(?!.*://).*\.sdp")  # The file with the description of a session
Kind = Literal["connected", "lost", "stalled", "resized", "jumped", "retimed", "skipped", "ended"]
REMEDIES: Mapping[str, str] = read_toml(Path(__file__).with_name("remedies.toml"))
FASTEST_S, SLOWEST_S = 0.2, 1.0  # Between these, an image is requested as often as it changes


def remedy_for(detail: str, remedies: Mapping[str, str] = REMEDIES) -> str:
    """What to do about `detail`, "" where nothing is known. `remedies` by regular expression; the first counts."""
    return next((text for part, text in remedies.items() if re.search(part, detail.lower())), "")


class StreamEvent(NamedTuple):
    """Something that happened to the stream."""

    time: float  # Seconds on the source's clock
    kind: Kind
    """Lost: the stream ended or could not be opened; stalled: no frame came for too long; jumped: its time
    stamps did; retimed: frames are timed by their arrival, or by their stamps again; skipped: segments were
    gone before they were read; ended: a file or recording is at its end."""
    detail: str


def network_address(typed: str) -> str:
    """`typed` with user name and password encoded: a password may hold "/", "#", "@" and blanks.

    >>> network_address("rtsp://admin:12/S3 cret@10.0.0.5:554/cam")
    'rtsp://admin:12%2FS3%20cret@10.0.0.5:554/cam'
    """
    scheme = NETWORK.match(typed)
    if not scheme:
        return typed
    begin = scheme.end()
    end = begin + login_length(typed[begin:])
    user, colon, password = typed[begin:end].partition(":")
    host, slash, path = typed[end:].partition("/")
    path = re.sub(r"[^\x21-\x7e]+", lambda odd: quote(odd[0]), path)  # HTTP takes no blank and no umlaut
    return typed[:begin] + _encoded(user) + colon + _encoded(password) + host + slash + path


def _encoded(text: str) -> str:
    """Percent-encoded, except for what is so already."""
    return re.sub(r"%(?![0-9a-fA-F]{2})|[^%]+", lambda plain: quote(plain[0], safe=""), text)


@dataclass
class Connection:
    """An open address, and how its frames are to be taken."""

    kind: Literal["live", "paced", "file", "images"]
    """Live: only the newest frame counts; paced: in order, at the stream's own pace; file: in order, to its
    end; images: the address is polled."""
    container: Any = None
    stream: Any = None  # The bytes behind the container, where Python reads them
    nominal: bool = False  # Whether time stamps are counted frames

    def close(self) -> None:
        """Closes both."""
        for part in (self.container, self.stream):
            if part is not None:
                part.close()


class Connector:
    """Opens one address again and again, and remembers what must not be read twice."""

    def __init__(self, uri: str, hooks: Hooks, *, stall_s: float, transport: str, hwaccel: Any = None,
                 follow_hosts: Collection[str] = ()) -> None:  # fmt: skip
        """`transport` of RTSP, tcp or udp; a server that rejects tcp gets udp. `follow_hosts` as of `HttpClient`."""
        if transport not in get_args(Transport):
            raise InputError(f"rtsp_transport: expected tcp or udp, got {transport!r}")
        self._hooks, self._stall_s, self._transport, self._follow_hosts = hooks, stall_s, transport, follow_hosts
        self.hwaccel = hwaccel
        self.address = network_address(uri)
        self.silent = bool(SESSION.fullmatch(self.address) or re.match("(?i)(udp|s?rtp)://", self.address))
        self.client: HttpClient | None = None
        self._wire: Wire | None = None
        self._segments: HlsStream | None = None
        self.finite = False  # Whether an HTTP address of unknown length has turned out to be a recording
        self._before = b""

    def connect(self) -> Connection:
        """The open address; PermanentError where it never will be, other exceptions where it is not now."""
        address = self.address
        if re.match(r"(?i)https?://", address):
            return self._http()
        if re.fullmatch(r"\d+", address) or address.startswith("/dev/video"):
            device = f"/dev/video{address}" if address.isdigit() else address
            try:
                return Connection("live", self._open(device, format="v4l2"))
            except FileNotFoundError:
                raise PermanentError(f"there is no such device: {device}") from None
        options: dict[str, str] = {}
        if re.match(r"(?i)rtsps?://", address):
            # No "nobuffer": it throws away what was read to learn the format, the first key frame with it,
            # and a camera that sends one in ten seconds then shows nothing for as long.
            options = {"rtsp_transport": self._transport, "analyzeduration": "500000", "fpsprobesize": "0"}
            options["timeout"] = str(round(1e6 * self._stall_s))
        if address.lower().startswith("rtsps"):
            options |= {"tls_verify": "1", **trusted_certificates()}
        if SESSION.fullmatch(address):
            with Path(address).open("rb") as file:
                if not re.search(rb"(?m)^m=video +[1-9]", file.read(1 << 14)):
                    raise PermanentError("expected the description of a session with a line m=video PORT, got none")
            options["protocol_whitelist"] = "file,rtp,udp,crypto,data"
        try:
            return Connection("live", self._open(address, options=options))
        except av.FFmpegError as error:
            if SESSION.fullmatch(address) and isinstance(error, av.InvalidDataError):
                raise SourceError("FFmpeg does not know this session, or another program has its port") from None
            if options.get("rtsp_transport") != "tcp" or not re.search("(?i)protocol not supported|461", str(error)):
                raise  # 461: Unsupported Transport
            self._transport = "udp"
            self._hooks.report("lost", "the camera rejects RTSP over TCP: UDP is tried")
            return self.connect()

    def abort(self) -> None:
        """Ends a read that waits in another thread."""
        if self.client is not None:
            self.client.abort()
        if self._wire is not None:
            self._wire.end()

    def sent_a_recording(self, connection: Connection) -> bool:
        """Whether the end of a stream was that of a recording: marked as one by HTTP, or come once before. HTTP marks
        the end of a body in chunks; another one may have been cut off. No camera sends the same bytes twice."""
        if not isinstance(stream := connection.stream, HttpStream):
            return False
        before, self._before = self._before, stream.begin
        return stream.begin == before or stream.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _open(self, source: Any, *, stall_s: float = 0.0, **options: Any) -> Any:
        limit_s = stall_s or self._stall_s
        if self.hwaccel is not None:
            options["hwaccel"] = self.hwaccel
        if not isinstance(source, str):
            options["options"] = {"protocol_whitelist": "data", **options.get("options", {})}  # it opens no other
        if not isinstance(source, str) or "://" not in source:
            return av.open(source, timeout=(limit_s, limit_s), **options)
        begun, self._wire = clock.monotonic(), Wire(source)
        with self._wire.watched():
            try:
                return av.open(source, timeout=(limit_s, limit_s), **options)
            except (av.InvalidDataError, av.ExitError):  # what FFmpeg says of everything
                if self._wire.flooded:
                    raise SourceError(f"more than {self._wire.received >> 20} MB came without a frame") from None
                if not (self.silent or self._wire.received) and clock.monotonic() - begun > 0.9 * limit_s:
                    raise TimeoutError(f"no answer for {limit_s:g} s") from None
                raise

    def _http(self) -> Connection:
        client = self.client = HttpClient(self.address, timeout_s=self._stall_s, follow_hosts=self._follow_hosts)
        hooks = self._hooks
        response = HttpStream(client, check=hooks.check_alive)
        kind, head = response.content_type, response.peek()
        playlist = "mpegurl" in kind or response.url.partition("?")[0].lower().endswith((".m3u8", ".m3u"))
        if kind.startswith("multipart/") or head.startswith(b"--"):
            response.length, response.live = None, True  # some cameras state a length
            return Connection("live", self._open(response, format="mpjpeg"), response, nominal=True)
        if playlist or head.startswith(PLAYLIST):
            return self._hls(client, response)
        if head.lower().startswith(PAGES):
            raise PermanentError("expected a video, the address shows a web page")
        if kind.startswith("image/") and head[4:8] != b"ftyp":
            response.close()
            return Connection("images")
        if response.length is not None or self.finite:
            response.retry, response.check = hooks.retry, hooks.check
            return Connection("file", stream=response)
        response.live = True
        jpegs: Any = {"format": "mjpeg"} if head.startswith(b"\xff\xd8") else {}
        container = self._open(response, options=QUICKLY, **jpegs)
        # A container that announces its end is a recording, though the server does not tell its length.
        finite = container.duration is not None and container.format.name.startswith(("mov", "matroska"))
        return Connection("file" if finite else "live", container, response, container.format.name in NOMINAL)

    def _hls(self, client: HttpClient, response: HttpStream) -> Connection:
        after = self._segments.after if self._segments is not None else None  # the last one that was read
        stream = self._segments = HlsStream(client, response, self._hooks, after=after, stall_s=self._stall_s)
        if stream.playlist.encrypted:
            if "*" not in client.follow_hosts:
                raise PermanentError("FFmpeg reads encrypted segments, from any host: allow it with --follow-host '*'")
            limit_s = SEGMENTS_STALL * self._stall_s
            container = self._open(self.address, stall_s=limit_s, options=trusted_certificates())
            return Connection("file" if container.duration else "paced", container)
        if stream.playlist.ended:
            return Connection("file", stream=stream)
        return Connection("paced", self._open(stream, options=QUICKLY), stream)


class Snapshots:
    """The images of an address; unchanged ones have the same ETag, or the same bytes."""

    def __init__(self, client: HttpClient, *, every_s: float | None = None,
                 check: Callable[[], None] = lambda: None) -> None:  # fmt: skip
        """`every_s` are the seconds between two requests, None: as it changes; `check` runs while one comes."""
        self._client, self._check = client, check
        self._every_s, self._etag, self._bytes = every_s, "", b""
        self.pause_s = SLOWEST_S if every_s is None else every_s  # Seconds to wait before the next request

    def next(self) -> Array | None:
        """(H, W, 3) RGB of a new image, None where it has not changed; SourceError where it is none."""
        data = self._fetch()
        changed = data not in (b"", self._bytes)
        if self._every_s is None:
            self.pause_s = min(max(self.pause_s * (0.6 if changed else 1.5), FASTEST_S), SLOWEST_S)
        if not changed:
            return None
        self._bytes = data
        image = read_image(io.BytesIO(data))
        if image is None:
            raise SourceError(f"expected an image, its {len(data)} bytes do not decode")
        return image

    def _fetch(self) -> bytes:
        """The image's bytes, b"" where the server says that it has not changed."""
        try:
            with self._client.get(headers={"If-None-Match": self._etag} if self._etag else {}) as response:
                self._etag = response.headers.get("ETag", "")
                return read_whole(response, self._check)
        except HttpError as error:
            if error.status == 304:
                return b""
            raise

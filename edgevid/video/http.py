"""Bytes of a video by HTTP(S), as a file object: resumed where the connection breaks, ended from outside.
FFmpeg's own HTTP takes a broken connection for the end of a file, and cannot be interrupted."""

import hashlib
import http.client
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cached_property, wraps
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from edgevid.errors import SourceError

SKIPPED = 1 << 18  # A seek forward by up to this many bytes reads on, instead of asking again
BEGIN = 1 << 16  # So many bytes of a stream are kept, to know it again
MOST_BYTES = 3 << 23  # No image and no frame of a live stream has more
MOST_TEXT = 1 << 22  # No playlist has more
Read = Callable[[Any, int], bytes]


def raising_once(read: Read) -> Read:
    """A method `read` that is at its end once it has raised: FFmpeg reads on, and PyAV prints what comes."""

    @wraps(read)
    def reading(self: Any, size: int = -1) -> bytes:
        if self.failed:
            return b""
        self.failed = True
        data = read(self, size)
        self.failed = False
        return data

    return reading


class PermanentError(SourceError):
    """An answer of a server or a machine that waiting does not change."""


class HttpError(SourceError):
    """A server's answer with another status than success."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(f"the server answers {status} {reason}".rstrip())


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, check: Callable[[str], None]) -> None:
        self._check = check

    def redirect_request(self, *given: Any) -> Any:
        """The request of the address that an answer leads to, the last of those given."""
        self._check(given[-1])
        return super().redirect_request(*given)


class _Connections(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Opens connections, and tells each one's socket: urllib has none that can be closed while it waits."""

    def __init__(self, note: Callable[[socket.socket], None]) -> None:
        urllib.request.AbstractHTTPHandler.__init__(self)

        def noting(kind: Any) -> Any:
            class Noting(kind):  # type: ignore[misc]
                def connect(self) -> None:
                    super().connect()
                    note(self.sock)

            return Noting

        self._plain, self._encrypted = map(noting, (http.client.HTTPConnection, http.client.HTTPSConnection))

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """What HTTPS trusts; made where it is needed, as that takes 0.04 s."""
        context = ssl.create_default_context()
        if "ca_file" in (trusted := trusted_certificates()):
            context.load_verify_locations(trusted["ca_file"])
        return context

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._plain, request)

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._encrypted, request, context=self._trusted)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """With SHA-256 and passwords in UTF-8 (RFC 7616), which urllib lacks."""

    def get_algorithm_impls(self, algorithm: str) -> Any:
        """The hash of a text, and that of a secret and data."""
        hashes = getattr(hashlib, {"SHA": "sha1", "SHA-256": "sha256"}.get(algorithm, "md5"))

        def hashed(text: str) -> str:
            return str(hashes(text.encode()).hexdigest())

        return hashed, lambda secret, data: hashed(f"{secret}:{data}")


class HttpClient:
    """Requests to the server of one address, with its login (basic or digest) and trusted certificates. What the server
    answers leads to no other host, but for those of `follow_hosts` ("*": any), and to no file."""

    def __init__(self, address: str, *, timeout_s: float, follow_hosts: Collection[str] = ()) -> None:
        """`address` as `network_address` gives it; `timeout_s` limits each wait for the server."""
        parts = urlsplit(address)
        login, _, host = parts.netloc.rpartition("@")
        self.url, self.timeout_s = urlunsplit(parts._replace(netloc=host, fragment="")), timeout_s
        self.follow_hosts, self._parts = {parts.hostname, *map(str.lower, follow_hosts)}, parts
        known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if login:
            user, _, password = login.partition(":")
            known.add_password(None, f"{parts.scheme}://{host}", unquote(user), unquote(password))
        self.ended = False  # Whether `abort` was called
        self._socket: socket.socket | None = None
        self._late, self._timer = False, threading.Timer(0.0, self._hang_up)
        self._opener = urllib.request.build_opener(_Connections(self._note), _Digest(known),
                                                   urllib.request.HTTPBasicAuthHandler(known),
                                                   _Redirects(self.check_address))  # fmt: skip

    def check_address(self, url: str) -> None:
        """PermanentError for an address that this server must not lead to."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or (parts.scheme, self._parts.scheme) == ("http", "https"):
            raise PermanentError(f"the server leads from {self._parts.scheme} to {parts.scheme or 'another'}: rejected")
        if not {parts.hostname, "*"} & self.follow_hosts:
            raise PermanentError(f"the server leads to another host, {parts.hostname}: allow it with --follow-host")

    def abort(self) -> None:
        """Ends a request or a read that waits in another thread, and all later ones."""
        self.ended = True
        self._hang_up()

    def _hang_up(self) -> None:
        self._late = True
        if self._socket is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(self._socket.fileno())) as connection:
                connection.shutdown(socket.SHUT_RDWR)

    def _note(self, connected: socket.socket) -> None:
        self._socket = connected
        self._timer.cancel()
        self._timer = threading.Timer(self.timeout_s, self._hang_up)
        self._timer.daemon = True
        self._timer.start()
        if self.ended:
            raise SourceError("closed")

    def get(self, url: str = "", headers: dict[str, str] | None = None) -> Any:
        """The open response; HttpError where the server rejects it, SourceError where there is none."""
        self.check_address(url or self.url)
        request = urllib.request.Request(url or self.url, headers={"User-Agent": "edgevid", **(headers or {})})
        self._late = False
        try:
            return self._opener.open(request, timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            raise HttpError(error.code, str(error.reason)) from None
        except SourceError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            if self._late and not self.ended:
                raise TimeoutError(f"no end of the HTTP header for {self.timeout_s:g} s") from None
            if not isinstance(error, urllib.error.URLError):
                raise SourceError(f"no HTTP server answers ({str(error) or type(error).__name__})") from None
            reason = error.reason
            raise SourceError(getattr(reason, "strerror", None) or str(reason)) from None
        finally:
            self._timer.cancel()


class HttpStream:
    """One response as a binary file for FFmpeg; with a known length it can be resumed and is seekable."""

    def __init__(self, client: HttpClient, url: str = "", *, span: tuple[int, int] | None = None,
                 check: Callable[[], None] = lambda: None,
                 retry: Callable[[Exception], None] | None = None) -> None:  # fmt: skip
        """Opens it. `check` runs before each read and may raise; `span` is a first byte and a length. `retry`
        is called with what broke the connection and waits; None: a broken connection raises."""
        self._client, self._url = client, url
        self.check, self.retry = check, retry  # Others, once it is known to be a file
        self._first = span[0] if span else 0
        self.length = span[1] if span else None  # Bytes in all; None where the server does not tell
        self._whole: int | None = None
        self._pos, self.begin, self.failed = 0, b"", False
        self.live, self.frameless = False, 0  # Bytes since the last frame, which are limited where it is live
        self._response: Any = None
        response = self._connect()
        self.headers, self.url = response.headers, str(response.geturl())
        self.content_type = str(self.headers.get_content_type()).lower()

    def peek(self) -> bytes:
        """The first bytes, behind blanks and a byte order mark, without reading them."""
        return bytes(self._response.peek(64)).lstrip(b"\xef\xbb\xbf \t\r\n")

    @raising_once
    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes as they come, b"" at the end."""
        while True:
            self.check()
            if self.length is not None and self._pos >= self.length:
                return b""
            try:
                if self._response is None:
                    self._connect()
                if size < 0:
                    return read_whole(self._response, self.check, MOST_TEXT)
                left = size if self.length is None else min(size, self.length - self._pos)
                data: bytes = self._response.read1(left)
            except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
                if self._client.ended:
                    raise SourceError("closed") from None
                if isinstance(error, HttpError) and error.status < 500:
                    raise
                self._broke(error)
                continue
            self._pos, self.frameless = self._pos + len(data), self.frameless + len(data)
            if self.live and self.frameless > MOST_BYTES:
                raise SourceError(f"more than {MOST_BYTES >> 20} MB came without a frame")
            if len(self.begin) < BEGIN:
                self.begin += data[: BEGIN - len(self.begin)]
            if data or self.length is None:
                return data
            self._broke(ConnectionError(f"broke off after {self._pos} of {self.length} bytes"))

    def seekable(self) -> bool:
        """Whether the length is known: a server without ranges sends it from the start again."""
        return self.length is not None

    def tell(self) -> int:
        return self._pos

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a byte; from the end where `whence` is 2."""
        base = (0, self._pos, self.length or 0)[whence]
        target = max(0, base + offset)
        if self._response is not None and self._pos <= target <= self._pos + SKIPPED:
            with suppress(OSError, http.client.HTTPException):
                self._skip(target - self._pos)
        if target != self._pos:
            self.close()
            self._pos = target
        return self._pos

    def close(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            with suppress(OSError, http.client.HTTPException):
                response.close()

    def _broke(self, error: Exception) -> None:
        """Asks for the rest with the next read, or raises what broke the connection."""
        self.close()
        if self.retry is None or self.length is None:
            raise error
        self.retry(error)

    def _connect(self) -> Any:
        first = self._first + self._pos
        last = "" if self.length is None else str(self._first + self.length - 1)
        response = self._client.get(self._url, {"Range": f"bytes={first}-{last}"})
        self._response = response
        stated = re.match(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        length = response.headers.get("Content-Length", "")
        whole = int(stated[2]) if stated else int(length) if length.isdigit() else None
        began = int(stated[1]) if stated and response.status == 206 else 0
        if self._whole is not None and whole not in (None, self._whole):
            raise SourceError(f"the file has changed: {self._whole} bytes before, {whole} now")
        self._whole = whole
        if self.length is None:
            self.length = whole
        at, self._pos = self._pos, began - self._first
        self._skip(at - self._pos)
        return response

    def _skip(self, count: int) -> None:
        """Reads over `count` bytes, and notes where it got to."""
        while count > 0:
            self.check()
            data = self._response.read1(min(count, 1 << 16))
            if not data:
                raise ConnectionError(f"broke off after {self._pos} bytes")
            self._pos, count = self._pos + len(data), count - len(data)


def read_whole(response: Any, check: Callable[[], None], most: int = MOST_BYTES) -> bytes:
    """All of a response; SourceError where it has more than `most` bytes. `check` runs for each part and may raise."""
    data = bytearray()
    while part := response.read1(BEGIN):
        check()
        data += part
        if len(data) > most:
            raise SourceError(f"more than {most >> 20} MB came, and no end")
    return bytes(data)


def trusted_certificates() -> dict[str, str]:
    """FFmpeg's option for the certificates that this machine trusts: PyAV's wheels do not look there."""
    paths = ssl.get_default_verify_paths()
    for file in (paths.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if file and Path(file).is_file():
            return {"ca_file": file}
    return {}

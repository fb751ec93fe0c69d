"""Serves an ASGI application to browsers: address, tokens, TLS, limits, start and clean end.

    with Server(app) as server:            # in the background
        print(server.url)
    serve(app, port=8470)                  # until Ctrl-C

Bound to 127.0.0.1 by default; any other address always has a token. What is checked before every page is in
security.py. Nothing that strangers do takes the place, the time or the log of those who have a token: `Listener` limits
connections, `LimitedWebSocket` what they send, and `FewLines` what is logged.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import ipaddress
import json
import logging
import re
import secrets
import socket
import ssl
import threading
import webbrowser
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevid._opencv import require_opencv
from edgevid.errors import EdgevidError, InputError, SourceError, log, require
from edgevid.output.listener import WAIT_S, Listener
from edgevid.run.watchdog import ended_by_sigterm
from edgevid.types import Closing
from edgevid.viewer.security import GOOD_TOKEN_LENGTH, MAX_BODY, FewLines, SecurityMiddleware, checked_token

if TYPE_CHECKING:
    from starlette.requests import Request

STATIC = Path(__file__).parent / "static"  # Stylesheets and scripts of the pages; they are in the wheel
PORT = 8470  # The first port that is tried by default
TRIES = 20
MAX_MESSAGE = 16 * 1024  # Bytes of a WebSocket message
ACCEPTED_AT_ONCE = 8  # Connections in one turn of the server's loop; a request needs five turns
LOGS = ("uvicorn.error", "asyncio", "edgevid")  # What may log about clients


class Server(Closing):
    """An ASGI application served from a thread of its own, inside `with`."""

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int | None = None, token: str | None = None,
                 viewer_token: str | None = None, allowed_hosts: Iterable[str] = (), tls_cert: str | Path | None = None,
                 tls_key: str | Path | None = None, purpose: str = "The viewer") -> None:  # fmt: skip
        """Binds the address at once, so that `url` is right before anything runs.

        Who has the `viewer_token` may look, and change nothing.

        `port` None takes the first free one from PORT on; 0 takes any. `token` None generates one where `host` is
        not a loopback address. `allowed_hosts` are host names to answer to besides localhost (behind a proxy).
        `tls_cert` and `tls_key` are PEM files; without `tls_key` the first one has both.
        Raises MissingExtraError, InputError (a bad token, port or certificate) and SourceError (an address that is
        in use or of another machine)."""
        uvicorn = require("uvicorn", extra="viewer", purpose=purpose)
        for module in ("websockets", "starlette"):
            require(module, extra="viewer", purpose=purpose)
        require_opencv(purpose)
        from edgevid.viewer.websocket import HEADER_BYTES, LimitedWebSocket

        public = not is_loopback(host)
        self._generated = token is None and (public or viewer_token is not None)
        token = secrets.token_urlsafe(18) if self._generated else token
        tokens = [None if one is None else checked_token(one) for one in (token, viewer_token)]
        if tokens[0] is not None and tokens[0] == tokens[1]:
            raise InputError("token: expected different ones for the operator and for viewers, got the same")
        if public and any(one and len(one) < GOOD_TOKEN_LENGTH for one in tokens):
            log.warning("a token of less than %d characters can be guessed: use a longer one", GOOD_TOKEN_LENGTH)
        self.token = tokens[0]
        _check_certificate(tls_cert, tls_key)
        self._scheme = "https" if tls_cert else "http"
        known = [one.encode() for one in tokens if one]

        def is_known(head: bytes) -> bool:
            words = re.findall(rb"[\w.~-]+", head)
            return not known or any(secrets.compare_digest(word, one) for word in words for one in known)

        self._socket = _bind(host, port, is_known)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        hosts = [*allowed_hosts, host, socket.gethostname()] if public else list(allowed_hosts)
        guarded = SecurityMiddleware(app, token=tokens[0], viewer_token=tokens[1], allowed_hosts=hosts, public=public,
                                     port=self.port, admitted=self._socket.admitted)  # fmt: skip

        async def end_waiting() -> None:
            self._socket.end_waiting()

        config = uvicorn.Config(
            guarded, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off",
            http="h11", h11_max_incomplete_event_size=HEADER_BYTES, ws=LimitedWebSocket, ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,  # JPEG does not shrink further
            loop="asyncio", backlog=ACCEPTED_AT_ONCE, callback_notify=end_waiting, timeout_notify=1,
            timeout_graceful_shutdown=2, ssl_certfile=tls_cert, ssl_keyfile=tls_key)  # fmt: skip
        self._server = uvicorn.Server(config)
        run = partial(self._server.run, [self._socket])
        self._thread = threading.Thread(target=run, name="edgevid-viewer", daemon=True)
        self._few_lines = FewLines(self._thread)

    @property
    def url(self) -> str:
        """The address to open, with the token where one was generated."""
        return self.address + (f"?token={self.token}" if self._generated else "")

    @property
    def address(self) -> str:
        """The address without the token; for all interfaces, this machine's name."""
        host = socket.gethostname() if self.host in ("", "0.0.0.0", "::") else self.host
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def __enter__(self) -> Server:
        """Serves from a thread; returns when the page can be opened."""
        for name in LOGS:
            logging.getLogger(name).addFilter(self._few_lines)
        self._thread.start()
        atexit.register(self.close)  # responses that native code still makes end before Python does
        while self._thread.is_alive() and not self._server.started:
            self._thread.join(0.01)
        if not self._server.started:
            self.close()
            raise SourceError(f"{self.address}: the server did not start; see the log above")
        return self

    def close(self) -> None:
        """Ends every connection and releases the address."""
        atexit.unregister(self.close)
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._socket.close()
        for name in LOGS:
            logging.getLogger(name).removeFilter(self._few_lines)


def serve(app: Any, *, open_browser: bool = False, announce: Callable[[str], None] | None = None,
          **options: Any) -> None:  # fmt: skip
    """Serves `app` until Ctrl-C or SIGTERM; `options` are those of Server. `announce` gets the address once it can be
    opened; `open_browser` opens it in a browser, which asks for the token."""
    with Server(app, **options) as server:
        if announce is not None:
            announce(server.url)
        if open_browser:
            webbrowser.open(server.address)  # a token would be in the command line of the browser
        wait_for_stop()


def wait_for_stop() -> None:
    """Returns at Ctrl-C, and at SIGTERM where this is the main thread."""
    try:
        with ended_by_sigterm():
            threading.Event().wait()
    except KeyboardInterrupt:
        pass


class RequestError(InputError):
    """A request whose body cannot be used, with the status of the answer."""

    def __init__(self, text: str, status: int = 400) -> None:
        self.status = status
        super().__init__(text)


async def json_of(request: Request, most: int = MAX_BODY) -> dict[str, Any]:
    """The JSON object in the body of a request; RequestError for another body, and for more than `most` bytes."""

    async def read() -> bytes:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise RequestError(f"expected at most {most} bytes", 413)
        return body

    try:
        body = await asyncio.wait_for(read(), WAIT_S)
    except asyncio.TimeoutError:
        raise RequestError(f"expected the whole request within {WAIT_S:g} s", 408) from None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise RequestError(f"expected an object as JSON, got {type(found).__name__}")
    return found


def make_app(page: str, routes: Iterable[Any]) -> Any:
    """The ASGI application of a page in STATIC with its `routes`, and of /static. An error of edgevid is an answer with
    its `status`, or 422: {"error": sentence}. MissingExtraError without the extra `viewer`."""
    require("starlette", extra="viewer", purpose="The viewer")
    from starlette.applications import Starlette
    from starlette.responses import FileResponse, JSONResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    def failed(_: Any, error: Exception) -> Any:
        return JSONResponse({"error": str(error)}, getattr(error, "status", 422))

    shown = Route("/", lambda _: FileResponse(STATIC / page))
    static = Mount("/static", StaticFiles(directory=STATIC), name="static")
    return Starlette(routes=[shown, *routes, static], exception_handlers={EdgevidError: failed})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_certificate(cert: str | Path | None, key: str | Path | None) -> None:
    """InputError for files that are no certificate and its key."""
    if cert is None and key is not None:
        raise InputError(f"--tls-key: expected --tls-cert, too, got the key {key} alone")
    try:  # a key with a password would be asked for
        if cert is not None:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, password=lambda: "")
    except OSError as error:
        expected = "a certificate and its key, without a password, in PEM format"
        raise InputError(f"--tls-cert: expected {expected}, got {cert} and {key}: {error.strerror or error}") from None


def _bind(host: str, port: int | None, is_known: Callable[[bytes], bool]) -> Listener:
    """A socket that holds the address, or the first free one of a few ports."""
    if port is not None and not 0 <= port <= 65535:
        raise InputError(f"port: expected 0 to 65535, got {port}")
    candidates = [*range(PORT, PORT + TRIES), 0] if port is None else [port]
    while True:
        number = candidates.pop(0)
        try:
            return Listener(host, number, is_known=is_known)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not candidates:
                reason = str(error.strerror).partition(" (while")[0]
                text = f"{host}:{number}: cannot listen: {reason}; choose another --host or --port"
                raise SourceError(text) from None

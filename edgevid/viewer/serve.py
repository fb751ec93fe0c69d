"""Serves an ASGI application to a browser on this machine: address, token, start and clean end, and what is checked
before every page.

    with Server(app) as server:            # in the background
        print(server.url)
    serve(app, port=8470)                  # until Ctrl-C

Bound to 127.0.0.1 by default; any other address always has a token. Three checks, as ASGI middleware, for HTTP and
WebSocket:

- the Host header must name this machine, else a web site whose name resolves to 127.0.0.1 could read
  the page (DNS rebinding);
- the Origin header, where a browser sends one, must be this page's own for a WebSocket and for every
  request that changes something (browsers do not apply the same-origin policy to WebSockets);
- the token, where there is one, in a cookie, a query or an Authorization header.
"""

from __future__ import annotations

import atexit
import errno
import ipaddress
import json
import re
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from edgevid._opencv import require_opencv
from edgevid.errors import EdgevidError, InputError, SourceError, require
from edgevid.run.watchdog import ended_by_sigterm
from edgevid.types import Closing

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"  # Stylesheets and scripts of the pages; they are in the wheel
PORT = 8470  # The first port that is tried by default
TRIES = 20
MIN_TOKEN_LENGTH = 8


class Server(Closing):
    """An ASGI application served from a thread of its own, inside `with`."""

    def __init__(
        self, app: Any, *, host: str = "127.0.0.1", port: int | None = None, token: str | None = None,
        viewer_token: str | None = None, allowed_hosts: Iterable[str] = (), purpose: str = "The viewer",
    ) -> None:  # fmt: skip
        """Binds the address at once, so that `url` is right before anything runs.

        Who has the `viewer_token` may look, and change nothing.

        `port` None takes the first free one from PORT on; 0 takes any. `token` None generates one where `host` is
        not a loopback address. `allowed_hosts` are host names to answer to besides localhost (behind a proxy).
        Raises MissingExtraError, InputError (a bad token or port) and SourceError (an address that is in use or of
        another machine)."""
        uvicorn = require("uvicorn", extra="viewer", purpose=purpose)
        for module in ("websockets", "starlette"):
            require(module, extra="viewer", purpose=purpose)
        require_opencv(purpose)
        public = not is_loopback(host)
        if token is None and (public or viewer_token):
            token = secrets.token_urlsafe(18)
        self.token = None if token is None else _checked(token)
        self._socket = _bind(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        hosts = [*allowed_hosts, host, socket.gethostname()] if public else list(allowed_hosts)
        guarded = SecurityMiddleware(
            app, token=self.token, viewer_token=viewer_token and _checked(viewer_token), allowed_hosts=hosts,
            public=public, port=self.port,
        )  # fmt: skip
        config = uvicorn.Config(
            guarded, log_config=None, access_log=False, server_header=False, proxy_headers=False,
            ws_per_message_deflate=False,  # JPEG does not shrink further
            ws_max_size=1 << 20, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        run = partial(self._server.run, [self._socket])
        self._thread = threading.Thread(target=run, name="edgevid-viewer", daemon=True)

    @property
    def url(self) -> str:
        """The address to open, with the token where there is one."""
        return self.address + (f"?token={self.token}" if self.token else "")

    @property
    def address(self) -> str:
        """The address without the token; for all interfaces, this machine's name."""
        host = socket.gethostname() if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def __enter__(self) -> Server:
        """Serves from a thread; returns when the page can be opened."""
        self._thread.start()
        atexit.register(self.close)  # responses that native code still makes end before Python does
        while self._thread.is_alive() and not self._server.started:
            self._thread.join(0.01)
        if not self._server.started:
            self._socket.close()
            raise SourceError(f"{self.address}: the server did not start; see the log above")
        return self

    def close(self) -> None:
        """Ends every connection and releases the address."""
        atexit.unregister(self.close)
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._socket.close()


def serve(
    app: Any, *, open_browser: bool = False, announce: Callable[[str], None] | None = None, **options: Any
) -> None:
    """Serves `app` until Ctrl-C or SIGTERM; `options` are those of Server. `announce` gets the address once it can be
    opened; `open_browser` opens it in a browser."""
    with Server(app, **options) as server:
        if announce is not None:
            announce(server.url)
        if open_browser:
            webbrowser.open(server.url)
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


async def json_of(request: Request, most: int = 1 << 20) -> dict[str, Any]:
    """The JSON object in the body of a request; RequestError for another body, and for more than `most` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise RequestError(f"expected at most {most} bytes", 413)
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


def _checked(token: str) -> str:
    if len(token) < MIN_TOKEN_LENGTH or not re.fullmatch(r"[\w.~-]+", token, re.ASCII):
        raise InputError(
            f"token: expected at least {MIN_TOKEN_LENGTH} letters, digits or any of - . _ ~, got "
            f"{len(token)} characters; leave it out to have one generated"
        )
    return token


def _bind(host: str, port: int | None) -> socket.socket:
    """A socket that holds the address, or the first free one of a few ports."""
    if port is not None and not 0 <= port <= 65535:
        raise InputError(f"port: expected 0 to 65535, got {port}")
    candidates = [*range(PORT, PORT + TRIES), 0] if port is None else [port]
    while True:
        number = candidates.pop(0)
        try:
            family, *_, address = socket.getaddrinfo(host or None, number, type=socket.SOCK_STREAM)[0]
            both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
            return socket.create_server(address, family=family, dualstack_ipv6=both)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not candidates:
                reason = str(error.strerror).partition(" (while")[0]
                raise SourceError(
                    f"{host}:{number}: cannot listen: {reason}; choose another --host or --port"
                ) from None


CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self'; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CSP.encode()), (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"), (b"cache-control", b"no-cache"),
    (b"cross-origin-opener-policy", b"same-origin"), (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip
SAFE = frozenset(("GET", "HEAD"))
OPERATOR = "edgevid.operator"  # Key of a scope: whether its client may change something
SIGN_IN = Path(__file__).with_name("sign_in.html").read_text(encoding="utf-8")


class SecurityMiddleware:
    """An ASGI application behind the three checks; every response carries the security headers."""

    def __init__(
        self, app: ASGIApp, *, token: str | None, viewer_token: str | None = None, allowed_hosts: Iterable[str] = (),
        public: bool = False, port: int = 0,
    ) -> None:  # fmt: skip
        """Who has the `viewer_token` may look, and change nothing. `allowed_hosts` are further host names to answer to;
        `public`: any literal IP address too. The cookie's name contains the `port`, as browsers share cookies between
        the ports of one host."""
        self._app, self._token, self._public, self._viewer = app, token, public, viewer_token
        self._hosts = {name.lower() for name in (*allowed_hosts, "localhost")}
        self._cookie = f"edgevid-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rejects what fails a check; forwards the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        from starlette.requests import HTTPConnection

        request = HTTPConnection(scope)
        asked = "token" in request.query_params
        if not self._is_allowed_host(request.headers.get("host", "")):
            text = "This page is not served under that host name. Use the printed address, or --allow-host."
            await _reject(scope, receive, send, 421, text)
        elif not _same_origin(request):
            await _reject(scope, receive, send, 403, "Requests from other web sites are rejected.")
        elif (sent := self._sent_token(request)) is not None:
            scope[OPERATOR] = operator = sent == self._token or self._token is None
            if not operator and scope["type"] == "http" and scope["method"] not in SAFE:
                await _reject(scope, receive, send, 403, "This token may look, and change nothing.")
            elif sent and asked and scope["type"] == "http":
                await self._store_token(request, receive, send, sent)
            else:
                await self._app(scope, receive, _with_headers(send))
        else:
            text = SIGN_IN.format(why="That token is wrong." if asked else "")
            await _reject(scope, receive, send, 401, text)

    def _is_allowed_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "") if host and "/" not in host else ""
            if name in self._hosts:
                return True
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._public or address.is_loopback  # DNS rebinding needs a name: no page has our address

    def _sent_token(self, request: HTTPConnection) -> str | None:
        """The token that a request carries, "" where it needs none, None where it has no valid one. Tokens are compared
        in constant time. The stylesheet of the sign-in page needs none."""
        if self._token is None or request.scope["path"] == "/static/base.css":
            return ""
        bearer = request.headers.get("authorization", "")
        sent = [
            request.query_params.get("token"),
            request.cookies.get(self._cookie),
            bearer[7:] if bearer.lower().startswith("bearer ") else None,
        ]
        for known in filter(None, (self._token, self._viewer)):
            expected = known.encode()
            if any(secrets.compare_digest(one.encode(), expected) for one in sent if one is not None):
                return known
        return None

    async def _store_token(self, request: HTTPConnection, receive: Receive, send: Send, token: str) -> None:
        """Moves the token from the address bar into a cookie."""
        from starlette.responses import Response

        rest = urlencode([(key, value) for key, value in request.query_params.multi_items() if key != "token"])
        # Quoted, as browsers take a leading "//" or "/\\" for another host.
        target = "/" + quote(request.scope["path"].lstrip("/\\")) + (f"?{rest}" if rest else "")
        answer = Response(status_code=303, headers={"location": target})
        answer.set_cookie(self._cookie, token, httponly=True)
        await answer(request.scope, receive, _with_headers(send))


def is_operator(scope: Scope) -> bool:
    """Whether the client of a request may change something."""
    return bool(scope.get(OPERATOR, True))


def _same_origin(request: HTTPConnection) -> bool:
    if request.scope["type"] == "http" and request.scope["method"] in SAFE:
        return True
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def _with_headers(send: Send) -> Send:
    """`send` with the security headers on every response; headers of the application take precedence."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            known = {name.lower() for name, _ in own}
            message = {**message, "headers": own + [h for h in HEADERS if h[0] not in known]}
        await send(message)

    return send_with_headers


async def _reject(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    from starlette.responses import Response

    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before accept: the handshake gets a 403
        return
    kind = "text/html" if text.startswith("<") else "text/plain"
    await Response(text, status, {"cache-control": "no-store"}, kind)(scope, receive, _with_headers(send))

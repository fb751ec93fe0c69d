"""What is checked before every page: host names, other sites, tokens and sizes; and how many lines that may log.

Four checks, as ASGI middleware, for HTTP and WebSocket:

- the Host header must name this machine, else a web site whose name resolves to 127.0.0.1 could read
  the page (DNS rebinding);
- the Origin header, where a browser sends one, must be this page's own for a WebSocket and for every
  request that changes something (browsers do not apply the same-origin policy to WebSockets);
- the token, where there is one, in a cookie, a query or an Authorization header;
- the body, of at most MAX_BODY bytes."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import secrets
import threading
import time as clock
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from edgevid.actions.clip_buffer import TokenBucket
from edgevid.errors import InputError, hide
from edgevid.output.listener import MOST, STRANGER

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_TOKEN_LENGTH, GOOD_TOKEN_LENGTH = 8, 16
MAX_BODY = 1 << 20
WRONG_AT_ONCE, WRONG_PER_S = 20, 0.5  # Requests with wrong tokens from one host
AT_ONCE = 2  # Requests of those who may not change something that are worked on, for each role
LINES, LINES_PER_S = 10, 1 / 60  # Of the log, about what clients do
CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
       "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")  # fmt: skip
HEADERS = ((b"content-security-policy", CSP.encode()), (b"x-content-type-options", b"nosniff"),
           (b"referrer-policy", b"no-referrer"), (b"cache-control", b"no-cache"),
           (b"cross-origin-opener-policy", b"same-origin"),
           (b"cross-origin-resource-policy", b"same-origin"))  # fmt: skip
SAFE = frozenset(("GET", "HEAD"))
OPERATOR = "edgevid.operator"  # Key of a scope: whether its client may change something
SIGN_IN = Path(__file__).with_name("sign_in.html").read_text(encoding="utf-8")


class SecurityMiddleware:
    """An ASGI application behind the four checks; every response carries the security headers."""

    def __init__(
        self, app: ASGIApp, *, token: str | None, viewer_token: str | None = None, allowed_hosts: Iterable[str] = (),
        public: bool = False, port: int = 0,
        admitted: Callable[[tuple[str, int] | None, str], AbstractContextManager[None]] = lambda *_: nullcontext(),
    ) -> None:  # fmt: skip
        """Who has the `viewer_token` may look, and change nothing. `allowed_hosts` are further host names to answer to;
        `public`: any literal IP address too. The cookie's name contains the `port`, as browsers share cookies between
        the ports of one host. `admitted` is the Listener's, where there is one."""
        self._app, self._public, self._admitted = app, public, admitted
        self._tokens = [("operator", token), ("viewer", viewer_token)] if token is not None else []
        self._hosts = {name.lower() for name in (*allowed_hosts, "localhost")}
        self._cookie = f"edgevid-{port}"
        self._tries = lru_cache(maxsize=1000)(lambda host: TokenBucket(WRONG_PER_S, WRONG_AT_ONCE))
        self._turns = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(AT_ONCE))
        self._requests = Counter[str]()  # Of each role, without those whose answers began

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rejects what fails a check; forwards the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        from starlette.requests import HTTPConnection

        request, peer = HTTPConnection(scope), scope.get("client")
        sent = [one for one in self._sent_tokens(request) if one]
        role, length = self._role(request, sent), request.headers.get("content-length", "")
        if not self._is_allowed_host(request.headers.get("host", "")):
            text = "This page is not served under that host name. Use the printed address, or --allow-host."
            await _reject(scope, receive, send, 421, text)
        elif not _same_origin(request):
            await _reject(scope, receive, send, 403, "Requests from other web sites are rejected.")
        elif length.isdecimal() and float(length) > MAX_BODY:
            await _reject(scope, receive, send, 413, f"Expected a body of at most {MAX_BODY} bytes.")
        elif role is None and sent and not self._tries(peer and peer[0]).take(1, clock.monotonic()):
            await _reject(scope, receive, send, 429, "Too many wrong tokens from this address: try again in a minute.")
        elif role is None:
            asked = "token" in request.query_params
            await _reject(scope, receive, send, 401, SIGN_IN.format(why="That token is wrong." if asked else ""))
        else:
            with self._admitted(peer, role):
                await self._forward(request, role, receive, send)

    async def _forward(self, request: HTTPConnection, role: str, receive: Receive, send: Send) -> None:
        scope = request.scope
        scope[OPERATOR] = role == "operator"
        if role != "operator" and scope["type"] == "http" and scope["method"] not in SAFE:
            await _reject(scope, receive, send, 403, "This token may look, and change nothing.")
        elif self._tokens and role != STRANGER and scope["type"] == "http" and "token" in request.query_params:
            await self._store_token(request, receive, send, str(dict(self._tokens)[role]))
        elif role != "operator" and scope["type"] == "http":
            await self._in_turn(request, role, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    async def _in_turn(self, request: HTTPConnection, role: str, receive: Receive, send: Send) -> None:
        """Answers few requests of a role at once, until their answers begin: threads and locks stay for the owner."""
        if self._requests[role] >= MOST:
            await _reject(request.scope, receive, send, 503, "Too many requests at once: try again.")
            return

        async def send_begun(message: Message) -> None:
            turn.close()
            await send(message)

        with ExitStack() as turn:
            self._requests[role] += 1
            turn.callback(self._requests.subtract, [role])
            await self._turns[role].acquire()
            turn.callback(self._turns[role].release)
            await self._app(request.scope, receive, _with_headers(send_begun))

    def _is_allowed_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "") if host and "/" not in host else ""
            if name in self._hosts:
                return True
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._public or address.is_loopback  # DNS rebinding needs a name: no page has our address

    def _sent_tokens(self, request: HTTPConnection) -> Iterator[str]:
        """The tokens that a request carries: of cookies all that have the name, as other programs may set it, too."""
        yield request.query_params.get("token", "")
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        yield bearer if kind.lower() == "bearer" else ""
        for cookie in ";".join(request.headers.getlist("cookie")).split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == self._cookie:
                yield value.strip('"')

    def _role(self, request: HTTPConnection, sent: Iterable[str]) -> str | None:
        """The role that a request has by its tokens, compared in constant time; None where they are not valid.

        The stylesheet of the sign-in page needs none."""
        for role, token in self._tokens:
            if token and any(secrets.compare_digest(one.encode(), token.encode()) for one in sent):
                return role
        if not self._tokens:
            return "operator"
        return STRANGER if request.scope["path"] == "/static/base.css" else None

    async def _store_token(self, request: HTTPConnection, receive: Receive, send: Send, token: str) -> None:
        """Moves the token from the address bar into a cookie."""
        from starlette.responses import Response

        rest = urlencode([(key, value) for key, value in request.query_params.multi_items() if key != "token"])
        # Quoted, as browsers take a leading "//" or "/\\" for another host.
        target = "/" + quote(request.scope["path"].lstrip("/\\")) + (f"?{rest}" if rest else "")
        answer = Response(status_code=303, headers={"location": target})
        answer.set_cookie(self._cookie, token, httponly=True, secure=request.url.scheme == "https")
        await answer(request.scope, receive, _with_headers(send))


def is_operator(scope: Scope) -> bool:
    """Whether the client of a request may change something."""
    return bool(scope.get(OPERATOR, True))


def _same_origin(request: HTTPConnection) -> bool:
    if request.scope["type"] == "http" and request.scope["method"] in SAFE:
        return True
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == request.headers.get("host", "").lower()


def _with_headers(send: Send) -> Send:
    """`send` with the security headers on every response; headers of the application take precedence. An error ends
    the connection."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            known = {name.lower() for name, _ in own}
            own += [h for h in HEADERS if h[0] not in known]
            if message["status"] >= 400:
                own.append((b"connection", b"close"))  # else the rest of its body is read
            message = {**message, "headers": own}
        await send(message)

    return send_with_headers


def checked_token(token: str) -> str:
    """The token, which no message shows from now on; InputError for a short or an odd one."""
    if len(token) < MIN_TOKEN_LENGTH or not re.fullmatch(r"[\w.~-]+", token, re.ASCII):
        raise InputError(f"token: expected at least {MIN_TOKEN_LENGTH} letters, digits or any of - . _ ~, got "
                         f"{len(token)} characters; leave it out to have one generated")  # fmt: skip
    hide(token)
    return token


async def _reject(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    from starlette.responses import Response

    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before accept: the handshake gets a 403
        return
    kind = "text/html" if text.startswith("<") else "text/plain"
    await Response(text, status, {"cache-control": "no-store"}, kind)(scope, receive, _with_headers(send))


class FewLines(logging.Filter):
    """Lets few lines of one thread into a log, as clients decide what there is to tell; warnings alone, as
    a server's notes have addresses with tokens."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._thread, self._bucket = thread, TokenBucket(LINES_PER_S, LINES)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.thread != self._thread.ident:
            return True
        told = record.levelno >= logging.WARNING and not str(record.msg).startswith("Invalid UTF-8")  # a client's text
        return told and self._bucket.take(1, clock.monotonic()) > 0

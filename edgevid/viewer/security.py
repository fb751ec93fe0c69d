"""What stands before every page: who may ask, from where, and what a browser may do with the answer.

Three checks, as plain ASGI, for HTTP and WebSocket alike:

- the Host header must name this machine, else a web site whose name was pointed at 127.0.0.1 could
  read the page (DNS rebinding);
- the Origin header, where a browser sends one, must be this page's own for a WebSocket and for all
  that changes something (a WebSocket is not held to the same-origin rule by browsers);
- the token, where there is one, in a cookie, a query or an Authorization header.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)
SAFE = frozenset(("GET", "HEAD"))
SIGN_IN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>edgevid: token needed</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/base.css"><main class="signin panel"><h1>Token needed</h1>
<p>{why} It stands at the end of the address that the program printed.</p>
<form method="get"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button class="primary">Open</button></form></main></html>"""


class Security:
    """An ASGI application behind the three checks; every answer carries the security headers."""

    def __init__(
        self, app: App, *, token: str | None, names: Iterable[str] = (), wide: bool = False, port: int = 0
    ) -> None:
        """`names` are further host names to answer to; `wide`: any literal address of this machine too.

        The cookie's name holds the `port`, as browsers share cookies between the ports of one host.
        """
        self._app, self._token, self._wide = app, token, wide
        self._names = {name.lower() for name in (*names, "localhost")}
        self._cookie = f"edgevid-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself what must not pass; hands on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        if not self._is_own(headers.get("host", "")):
            words = "This page is not served under that host name. Use the address that was printed."
            await _refuse(scope, send, 421, words)
        elif not _same_origin(scope, headers):
            await _refuse(scope, send, 403, "Another web site asked for this; it is not answered.")
        elif self._is_public(scope) or self._knows(scope, headers):
            if self._token is not None and _asked_token(scope) is not None and scope["type"] == "http":
                await self._welcome(scope, send)
            else:
                await self._app(scope, receive, _sealed(send))
        else:
            given = _asked_token(scope) is not None
            await _refuse(scope, send, 401, SIGN_IN.format(why="That token is not right." if given else ""))

    def _is_own(self, host: str) -> bool:
        """Whether the Host header names this machine."""
        try:
            name = (urlsplit(f"//{host}").hostname or "") if host and "/" not in host else ""
            if name in self._names:
                return True
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._wide or address.is_loopback  # no foreign page has a literal address of ours

    def _is_public(self, scope: Scope) -> bool:
        """The stylesheet of the sign-in page needs no token."""
        return self._token is None or scope["path"] == "/static/base.css"

    def _knows(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Whether the right token came; compared in constant time."""
        assert self._token is not None
        bearer = headers.get("authorization", "")
        given = [
            _asked_token(scope),
            _cookies(headers.get("cookie", "")).get(self._cookie),
            bearer[7:] if bearer.lower().startswith("bearer ") else None,
        ]
        right = self._token.encode()
        return any(secrets.compare_digest(one.encode(), right) for one in given if one is not None)

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Moves the token from the address bar into a cookie."""
        rest = [(key, value) for key, value in _query(scope) if key != "token"]
        # Quoted, as browsers read "//" and "/\\" at the beginning as another host.
        where = "/" + quote(scope["path"].lstrip("/\\")) + (f"?{urlencode(rest)}" if rest else "")
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Lax"
        headers = [(b"location", where.encode()), (b"set-cookie", cookie.encode())]
        await _sealed(send)({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _same_origin(scope: Scope, headers: dict[str, str]) -> bool:
    if scope["type"] == "http" and scope["method"] in SAFE:
        return True
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _asked_token(scope: Scope) -> str | None:
    return dict(_query(scope)).get("token")


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def _sealed(send: Send) -> Send:
    """`send` with the security headers on every answer; what the application set itself stays."""

    async def sealed(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            known = {name.lower() for name, _ in own}
            message = {**message, "headers": own + [h for h in HEADERS if h[0] not in known]}
        await send(message)

    return sealed


async def _refuse(scope: Scope, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before accept: the handshake gets a 403
        return
    kind = b"text/html" if words.startswith("<") else b"text/plain"
    headers = [(b"content-type", kind + b"; charset=utf-8"), (b"cache-control", b"no-store")]
    await _sealed(send)({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})

"""Access checks before every page: which host name, which origin, which token.

Three checks, as ASGI middleware, for HTTP and WebSocket:

- the Host header must name this machine, else a web site whose name resolves to 127.0.0.1 could read
  the page (DNS rebinding);
- the Origin header, where a browser sends one, must be this page's own for a WebSocket and for every
  request that changes something (browsers do not apply the same-origin policy to WebSockets);
- the token, where there is one, in a cookie, a query or an Authorization header.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

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
        self, app: App, *, token: str | None, viewer_token: str | None = None, allowed_hosts: Iterable[str] = (),
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

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
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

"""The address of a server that takes events, and one sentence for why it does not take them."""

import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgevid.errors import InputError, SourceError, hide
from edgevid.video.connect import network_address

PORTS = {
    "mqtt": {"mqtt": 1883, "mqtts": 8883}, "webhook": {"http": 80, "https": 443},
    "redis": {"redis": 6379, "rediss": 6379}, "kafka": {"kafka": 9092, "kafkas": 9093},
    "frigate": {"http": 5000, "https": 8971},
}  # fmt: skip
"""By kind of server: the schemes of its addresses, and their ports."""
EXAMPLES = {
    "mqtt": "mqtts://HOST/TOPIC", "webhook": "https://HOST/PATH", "redis": "rediss://HOST",
    "kafka": "kafkas://HOST/TOPIC", "frigate": "https://HOST:8971",
}  # fmt: skip
WAIT_S = 5.0  # How long an answer of a server may take
REASONS = {
    "ssl routines::certificate": "its certificate is for another name, or not trusted: check host and ca",
    "mismatch|not valid for": "its certificate is for another name: use the name in the certificate",
    "certificate": 'its certificate is not trusted: name its issuer\'s certificate with ca = "ca.pem"',
    "ssl": "it does not answer with TLS: check the port and the scheme",
    "not known|resol|no address": "the host is unknown: check its name",
    "reset by peer|closed the connection": "it ended the connection: check the port and the scheme (TLS)",
    "refused": "nothing answers on this port: check host and port, and that the server runs",
    "timed out|timeout": "the server does not answer in time",
    "password|user name|authenti": "the server rejects the user or the password: check both",
}
"""What a part of a library's message means; the first that matches counts."""


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of an address, decoded."""

    scheme: str
    host: str
    port: int
    path: str
    user: str
    password: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.path}".rstrip("/")


def server_of(url: str, kind: str) -> Server:
    """The server of an address; `kind` is one of `PORTS`. InputError for an address of another kind."""
    try:
        parts = urlsplit(network_address(url))
        default = PORTS[kind][parts.scheme]
        port = parts.port or default
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname:
        raise InputError(f"expected an address such as {EXAMPLES[kind]}, got {url!r}")
    password = unquote(parts.password or "")
    hide(password)
    path = unquote(parts.path).strip("/")
    return Server(parts.scheme, parts.hostname, port, path, unquote(parts.username or ""), password)


def tls_context(ca: str | Path | None) -> ssl.SSLContext:
    """TLS that trusts this machine's certificates and those of the file `ca`. InputError for another file."""
    context = ssl.create_default_context()
    try:
        if ca is not None:
            context.load_verify_locations(ca)
    except OSError as error:
        raise InputError(f"{ca}: expected certificates in PEM format, got {error.strerror or error}") from None
    return context


def reach(server: Server, ca: str | Path | None = None) -> str:
    """Connects to a server, by TLS where its scheme says so; SourceError for why that cannot be."""
    try:
        with socket.create_connection((server.host, server.port), WAIT_S) as plain:
            if server.scheme in ("mqtts", "https", "rediss", "kafkas"):
                tls_context(ca).wrap_socket(plain, server_hostname=server.host).close()
    except OSError as error:
        raise unavailable(error) from None
    return f"{server.host}:{server.port} answers"


def unavailable(problem: object) -> SourceError:
    """The error for an exception or a message of a library: what it means, where that is known."""
    text = str(problem) or type(problem).__name__
    return SourceError(next((said for part, said in REASONS.items() if re.search(part, text.lower())), text))

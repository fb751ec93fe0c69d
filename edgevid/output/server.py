"""Sinks that send events to a server (webhooks, Redis, Kafka), its address, and one sentence for why it takes none."""

import base64
import hmac
import socket
import ssl
import time as clock
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from edgevid.errors import InputError, SourceError, hide, require
from edgevid.files.toml import read_toml
from edgevid.output.delivery import BATCH, RejectedError
from edgevid.output.records import json_line
from edgevid.types import Closing, Event
from edgevid.video.connect import network_address, remedy_for

_TABLES = read_toml(Path(__file__).with_suffix(".toml"))
REASONS, STATUSES = _TABLES.pop("reasons"), _TABLES.pop("statuses")
PORTS: dict[str, dict[str, int]] = {kind: one["ports"] for kind, one in _TABLES.items()}  # By kind and scheme
EXAMPLES: dict[str, str] = {kind: one["example"] for kind, one in _TABLES.items()}
WAIT_S = 5.0  # How long an answer of a server may take


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


def unavailable(problem: object) -> SourceError:
    """The error for an exception or a message of a library: what it means, where that is known."""
    text = str(problem) or type(problem).__name__
    return SourceError(remedy_for(text, REASONS) or text)


REJECTED = {400, 409, 410, 413, 414, 415, 422}  # Answers that another try does not change
MOST_WAIT_S = 3600.0
MOST_ANSWER = 1 << 22  # Bytes of an answer that are read


class HttpSink(Closing):
    """A sink that sends events one by one: a connection that is kept, and the wait that its server demanded
    (Retry-After)."""

    def __init__(self, ca: str | Path | None, purpose: str) -> None:
        """`ca` is a PEM file of certificates to trust; MissingExtraError without httpx."""
        self._http = require("httpx", extra="webhook", purpose=purpose)
        self._client = self._http.Client(timeout=WAIT_S, verify=tls_context(ca))
        self._not_before = 0.0
        self._done = deque[str](maxlen=2 * BATCH)

    def send(self, events: Sequence[Event]) -> None:
        """Sends each event, but for those that an earlier try delivered; SourceError where it comes again.
        RejectedError where the other side never takes the event."""
        for event in events:
            if event.id not in self._done:
                self._send(event)
                self._done.append(event.id)

    @abstractmethod
    def _send(self, event: Event) -> None:
        """Sends one event."""

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def request(self, method: str, url: str, *, accepted: tuple[int, ...] = (), **options: Any) -> Any:
        """The answer where it is a success, or `accepted`; else RejectedError or SourceError."""
        if (wait := self._not_before - clock.monotonic()) > 0:
            raise SourceError(f"the server demands to wait for another {wait:.0f} s")
        try:
            body, end = b"", clock.monotonic() + WAIT_S
            with self._client.stream(method, url, **options) as got:
                for part in got.iter_bytes():
                    body += part
                    if len(body) > MOST_ANSWER or clock.monotonic() > end:
                        break  # its status says all; one without an end would fill memory, or hold this thread
            headers = {name: got.headers[name] for name in ("location", "retry-after") if name in got.headers}
            answer = self._http.Response(got.status_code, headers=headers, content=body, extensions=got.extensions)
        except (self._http.HTTPError, self._http.InvalidURL) as error:
            raise unavailable(error) from None
        status = answer.status_code
        if 200 <= status < 300 or status in accepted:
            return answer
        said = f"the server answers {status} {answer.reason_phrase}".rstrip()
        if status in REJECTED:
            raise RejectedError(said)
        self._not_before = clock.monotonic() + _wait_s(answer.headers.get("retry-after", ""))
        moved = f"it moved: use {answer.headers['location']}" if answer.has_redirect_location else ""
        remedy = moved or STATUSES.get(str(status), "")
        raise SourceError(f"{said}; {remedy}" if remedy else said)


def _wait_s(retry_after: Any) -> float:
    with suppress(ValueError):
        return min(float(retry_after), MOST_WAIT_S)
    with suppress(ValueError):
        return min(parsedate_to_datetime(retry_after).timestamp() - clock.time(), MOST_WAIT_S)
    return 0.0


class WebhookSink(HttpSink):
    """POSTs each event as JSON, signed as Standard Webhooks describes (standardwebhooks.com)."""

    def __init__(self, url: str, *, secret: str = "", ca: str | Path | None = None) -> None:
        """`secret` signs: "whsec_..." in base64, or any text. `ca` is a PEM file of certificates to trust. InputError
        for an address or secret that cannot be used, MissingExtraError without httpx."""
        super().__init__(ca, "Webhooks")
        self._server, self._url, self._ca = server_of(url, "webhook"), network_address(url), ca
        self.name = f"webhook {self._server.host}:{self._server.port}"  # paths often hold a secret
        hide(secret)
        try:
            encoded = secret.removeprefix("whsec_")
            self._key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
        except ValueError:
            raise InputError("webhook: expected base64 after whsec_ in the secret, got other text") from None

    def _send(self, event: Event) -> None:
        body, stamp = json_line(event.to_dict()).rstrip().encode(), str(int(clock.time()))
        headers = {"content-type": "application/json", "user-agent": "edgevid", "webhook-id": event.id,
                   "webhook-timestamp": stamp}  # fmt: skip
        if self._key:
            signed = hmac.digest(self._key, f"{event.id}.{stamp}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        self.request("POST", self._url, content=body, headers=headers)

    def check(self) -> str:
        """Whether the server answers, and its certificate; nothing is sent to it."""
        host, port = self._server.host, self._server.port
        try:
            with socket.create_connection((host, port), WAIT_S) as plain:
                if self._server.scheme == "https":
                    tls_context(self._ca).wrap_socket(plain, server_hostname=host).close()
        except OSError as error:
            raise unavailable(error) from None
        return f"{host}:{port} answers"


class RedisSink(Closing):
    """Entries of `id`, `kind`, `camera`, `event` (JSON); the hash STREAM:last has each camera's last id."""

    def __init__(self, url: str, *, stream: str = "edgevid", max_entries: int = 1_000_000,
                 ca: str | Path | None = None) -> None:  # fmt: skip
        """About `max_entries` are kept, the oldest are deleted; `ca` is a PEM file of certificates to trust. InputError
        for an address that cannot be used, MissingExtraError without redis."""
        redis = require("redis", extra="redis", purpose="Redis")
        retry, backoff = (require(f"redis.{n}", extra="redis", purpose="Redis") for n in ("retry", "backoff"))
        server = server_of(url, "redis")
        if server.path and not server.path.isdecimal():
            raise InputError(f"expected a database's number as the path of the address, got {server.path!r}")
        self._stream, self._max_entries = stream, max_entries
        self.name = f"redis {server} {stream}"
        self._error: type[Exception] = redis.RedisError
        self._redis = redis.Redis(server.host, server.port, int(server.path or 0), username=server.user or None,
                                  password=server.password or None, ssl=server.scheme == "rediss",
                                  ssl_check_hostname=True, ssl_ca_certs=None if ca is None else str(ca),
                                  socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S,
                                  retry=retry.Retry(backoff.NoBackoff(), 0), decode_responses=True)  # fmt: skip

    def send(self, events: Sequence[Event]) -> None:
        """Adds events that the stream does not have, in one transaction; SourceError where that fails."""
        camera, key = events[-1].camera, f"{self._stream}:last"
        try:
            self._check_kind()
            last = self._redis.hget(key, camera)
            ids = [event.id for event in events]
            with self._redis.pipeline(transaction=True) as batch:
                for event in events[ids.index(last) + 1 if last in ids else 0 :]:
                    fields = {"id": event.id, "kind": event.kind, "camera": event.camera}
                    fields["event"] = json_line(event.to_dict()).rstrip()
                    batch.xadd(self._stream, fields, maxlen=self._max_entries)
                batch.hset(key, camera, ids[-1])
                batch.execute()
        except self._error as error:
            raise unavailable(error) from None

    def check(self) -> str:
        """Whether the server answers, takes the login, and has a stream at the key, or nothing."""
        try:
            self._check_kind()
        except self._error as error:
            raise unavailable(error) from None
        return f"{self._stream} can be written"

    def close(self) -> None:
        """Ends the connection."""
        self._redis.close()

    def _check_kind(self) -> None:
        kind = self._redis.type(self._stream)
        if kind not in ("stream", "none"):  # a transaction that fails in the middle keeps its other half
            raise SourceError(f"{self._stream} is no stream but a {kind}: choose another name")


Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSink(Closing):
    """Messages: the event as JSON, its `id` as a header, its camera as the key, which keeps the order."""

    def __init__(self, url: str, *, mechanism: Mechanism = "PLAIN", ca: str | Path | None = None) -> None:
        """`mechanism` is the login's; `ca` is a PEM file of certificates to trust, not this machine's. InputError for
        an address that cannot be used, MissingExtraError without confluent-kafka."""
        self._kafka = require("confluent_kafka", extra="kafka", purpose="Kafka")
        server = server_of(url, "kafka")
        self._topic, self.name = server.path or "edgevid", f"kafka {server}"
        login = {"sasl.mechanism": mechanism, "sasl.username": server.user, "sasl.password": server.password}
        self._settings: dict[str, Any] = {
            "bootstrap.servers": f"{server.host}:{server.port}", "client.id": "edgevid", "log_level": 0,
            "security.protocol": ("SASL_" if server.user else "")
            + ("SSL" if server.scheme == "kafkas" else "PLAINTEXT"),
            "enable.idempotence": True,  # in order and once, also where the client repeats a request
            "message.timeout.ms": 0, "topic.metadata.propagation.max.ms": 3000, "error_cb": self._note,
        } | (login if server.user else {}) | ({} if ca is None else {"ssl.ca.location": str(ca)})  # fmt: skip
        self._producer: Any = None
        self._problem = ""

    def send(self, events: Sequence[Event]) -> None:
        """Sends events and waits until all replicas have them; SourceError where they must be repeated."""
        try:
            producer, failures = self._connected(), list[Any]()
            for event in events:
                producer.produce(self._topic, json_line(event.to_dict()).rstrip().encode(), event.camera.encode(),
                                 headers={"id": event.id},
                                 on_delivery=lambda error, _: failures.append(error) if error else None)  # fmt: skip
            waiting = producer.flush(WAIT_S)
        except self._kafka.KafkaException as error:
            self.close()
            raise unavailable(error.args[0].str()) from None
        if waiting or failures:
            problem = failures[0].str() if failures else self._problem or "timed out"
            self.close()
            raise unavailable(problem)
        self._problem = ""

    def check(self) -> str:
        """Whether a broker answers, takes the login, and has the topic, or may make it."""
        try:
            found = self._connected().list_topics(self._topic, WAIT_S).topics[self._topic]
        except self._kafka.KafkaException as error:
            self._producer.poll(0)  # brings what the broker said
            raise unavailable(self._problem or error.args[0].str()) from None
        if found.error is not None and found.error.code() != self._kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise unavailable(found.error.str())
        return f"the broker takes the login; topic {self._topic}"

    def close(self) -> None:
        """Forgets what was not acknowledged: the spool has it."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(0)
            self._producer = None
        self._problem = ""

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = self._kafka.Producer(self._settings)
        return self._producer

    def _note(self, error: Any) -> None:
        """Keeps why a broker cannot be used; that none can be used says less."""
        if error.code() != self._kafka.KafkaError._ALL_BROKERS_DOWN:
            self._problem = error.str()

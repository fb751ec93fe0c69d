"""WebhookSink against a server on loopback: signatures, retries, Retry-After, rejections, TLS."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from brokers import certificate, free_port, until
from event_samples import an_event

from edgevid.errors import InputError, MissingExtraError, SourceError
from edgevid.output import delivery, server
from edgevid.output.delivery import Delivery, RejectedError
from edgevid.output.server import WebhookSink

pytest.importorskip("httpx", reason='needs httpx: pip install "edgevid[webhook]"')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that failed is tried again soon."""
    monkeypatch.setattr(delivery.random, "uniform", lambda low, high: 0.1)
    monkeypatch.setattr(delivery, "MAX_BACKOFF_S", 0.5)


class Receiver:
    """Takes events; `answers` are the statuses and headers of the next answers, then 204."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        self.answers, self.requests = list(answers), list[tuple[dict[str, str], bytes]]()
        self.taken: list[str] = []

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        self.requests.append((headers, body))
        status, more = self.answers.pop(0) if self.answers else (204, {})
        if status == 204:
            self.taken.append(json.loads(body)["id"])
        return status, more

    @contextlib.contextmanager
    def serving(self, port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[str]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, more = receiver.answer({k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                for name, value in ({"content-length": "0"} | more).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize("secret", ["any text", "whsec_" + base64.b64encode(b"any text").decode()])
def test_a_request_is_an_event_with_its_id_and_signature(secret: str) -> None:
    receiver = Receiver()
    with receiver.serving() as host, WebhookSink(f"http://gate:p%40ss@{host}/hook?a=1", secret=secret) as sink:
        sink.send([an_event(0, class_name="car"), an_event(1)])
    assert receiver.taken == [an_event(0).id, an_event(1).id]
    headers, body = receiver.requests[0]
    assert json.loads(body) == an_event(0, class_name="car").to_dict()
    assert headers["webhook-id"] == an_event(0).id
    assert headers["authorization"] == "Basic " + base64.b64encode(b"gate:p@ss").decode()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"any text", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_without_a_secret_nothing_is_signed() -> None:
    receiver = Receiver()
    with receiver.serving() as host, WebhookSink(f"http://{host}") as sink:
        sink.send([an_event(0)])
    assert "webhook-signature" not in receiver.requests[0][0]


def test_a_server_that_is_away_then_fails_then_works_has_every_event_once_in_order(tmp_path: Path) -> None:
    port = free_port()
    receiver = Receiver(*[(204, {})] * 5, (500, {}), (204, {}), (503, {"retry-after": "0"}), (204, {}), (429, {}))
    with Delivery([WebhookSink(f"http://127.0.0.1:{port}/hook")], tmp_path / "spool") as events:
        worker = events.workers[0]
        for n in range(100):
            events.put(an_event(n))
        assert until(lambda: "nothing answers on this port" in worker.failure)
        with receiver.serving(port):
            assert until(lambda: worker.backlog == 0)
    assert receiver.taken == [an_event(n).id for n in range(100)]
    assert len(receiver.requests) == 103
    assert (worker.delivered, worker.rejected) == (100, 0)


def test_what_is_rejected_is_left_out_and_counted_and_nothing_comes_twice(tmp_path: Path) -> None:
    class Picky(Receiver):
        def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
            if json.loads(body)["id"] == an_event(3).id:
                self.answers = [(422, {})]
            return super().answer(headers, body)

    receiver = Picky()
    with receiver.serving() as host, Delivery([WebhookSink(f"http://{host}")], tmp_path / "spool") as events:
        for n in range(8):
            events.put(an_event(n))
        assert until(lambda: events.workers[0].backlog == 0)
    assert receiver.taken == [an_event(n).id for n in range(8) if n != 3]
    assert events.workers[0].rejected == 1


@pytest.mark.parametrize("after", ["120", formatdate(4102444800, usegmt=True)])
def test_retry_after_is_obeyed(after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, now = Receiver((503, {"retry-after": after})), [1000.0]
    monkeypatch.setattr(server.clock, "monotonic", lambda: now[0])
    with receiver.serving() as host, WebhookSink(f"http://{host}") as sink:
        with pytest.raises(SourceError, match="the server answers 503 Service Unavailable"):
            sink.send([an_event(0)])
        now[0] += 119
        with pytest.raises(SourceError, match=r"demands to wait for another (1|3481) s"):
            sink.send([an_event(0)])
        assert len(receiver.requests) == 1
        now[0] += 3500
        sink.send([an_event(0)])
    assert receiver.taken == [an_event(0).id]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "message"),
    [
        (401, {}, SourceError, "answers 401 Unauthorized; check the login"),
        (404, {}, SourceError, "answers 404 Not Found; check the path"),
        (301, {"location": "https://new/hook"}, SourceError, "it moved: use https://new/hook"),
        (502, {"retry-after": "soon"}, SourceError, "answers 502 Bad Gateway$"),
        (400, {}, RejectedError, "answers 400 Bad Request"),
    ],
)
def test_each_answer_is_one_sentence(status: int, headers: dict[str, str], kind: Any, message: str) -> None:
    with (
        Receiver((status, headers)).serving() as host,
        WebhookSink(f"http://{host}") as sink,
        pytest.raises(kind, match=message),
    ):
        sink.send([an_event(0)])


def test_tls_trusts_the_named_certificate_for_its_name_only(tmp_path: Path) -> None:
    for name, message in (("localhost", ""), ("elsewhere", "its certificate is for another name")):
        cert, key = certificate(tmp_path, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        receiver = Receiver()
        with receiver.serving(context=context) as host:
            url = f"https://localhost:{host.partition(':')[2]}/hook"
            for sink, expected in (WebhookSink(url, ca=cert), message), (WebhookSink(url), "is not trusted"):
                with pytest.raises(SourceError, match=expected) if expected else contextlib.nullcontext():
                    sink.send([an_event(0)])
                sink.close()
        assert len(receiver.taken) == (not message)


def test_an_unknown_host_an_address_and_a_secret_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebhookSink("http://nowhere.invalid/") as sink, pytest.raises(SourceError, match="the host is unknown"):
        sink.send([an_event(0)])
    with pytest.raises(InputError, match="an address such as https://HOST/PATH, got 'hook'"):
        WebhookSink("hook")
    with pytest.raises(InputError, match=r"expected base64 after whsec_ in the secret, got other text$"):
        WebhookSink("http://host", secret="whsec_!")
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "edgevid\[webhook\]"'):
        WebhookSink("http://host")


@pytest.mark.parametrize(("pause_s", "blocks"), [(0.0, 1000), (0.05, 60)])
def test_an_answer_without_an_end_neither_fills_memory_nor_holds_the_thread(
    pause_s: float, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = list[int]()

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(blocks):
                    sent.append(self.wfile.write(b"x" * 65536))
                    threading.Event().wait(pause_s)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    monkeypatch.setattr(server, "WAIT_S", 0.3 if pause_s else 5.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
        with WebhookSink(f"http://127.0.0.1:{receiver.server_port}") as sink:
            sink.send([an_event(1)])
        receiver.shutdown()
    assert len(sent) < blocks / 2

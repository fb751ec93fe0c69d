"""Ten thousand damaged exchanges with the viewer, over HTTP and WebSocket, while its owner looks on.

    python benchmarks/field_http.py                 10,000 exchanges, then idle connections and floods
    python benchmarks/field_http.py --count 100     the short version that the tests run

Each is a valid request, or a WebSocket's handshake and messages, with bytes flipped, deleted, duplicated or
inserted, or truncated, with the owner's token, the viewers', a wrong one or none. Findings: an answer of 500
and above but 503 and 507, a secret in an answer or in the log, an owner who waits over a second, a server that is gone,
a file descriptor that stays open. `field_fuzz.py` is the same for files.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import conditions, save, table
from field_fuzz import WORTH, mutated

OWNER, VIEWER, SECRET = "owner-token-of-the-fuzz", "viewer-token-of-the-fuzz", "hunter2-planted"
PATHS = (
    "/", "/static/main.js", "/api/annotations", "/api/events?class=car&min_kmh=5&limit=9", "/api/counts?kind=cross",
    "/api/recordings", "/api/latest", "/api/stream", "/media/gate/00000001-20260131T120017Z-event.mp4", "/nowhere",
    "/api/openapi.json", f"/?token={VIEWER}",
)  # fmt: skip
BODIES = (
    b'{"annotations": [{"kind": "zone", "name": "a", "points": [[1, 2], [300, 4], [5, 200]]}], "version": 0}',
    b'{"annotations": [{"kind": "line", "name": "b", "points": [[1.5, 2], [300, 4]], "ground": true}], "version": 1}',
)
MESSAGES = (b'{"ack": 1}', b'{"visible": false}', b'{"paused": true}', b'{"step": true}', b'{"seek": 1.5}')
LIMIT_S = 1.0  # For the owner
VISITOR = """
import socket, sys, time
head = "GET /api/latest HTTP/1.1\\r\\nhost: 127.0.0.1\\r\\nauthorization: Bearer %s\\r\\nconnection: close\\r\\n\\r\\n"
while True:
    start, answer = time.monotonic(), b""
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as one:
            one.sendall((head % sys.argv[2]).encode())
            while data := one.recv(65536):
                answer += data
    except OSError as error:
        answer = f"HTTP/1.1 {type(error).__name__}".encode()
    print(time.monotonic() - start, answer[9:12].decode() or "none", flush=True)
    time.sleep(0.02)
"""


class Owner:
    """A process that asks the server fifty times a second, and how long it waited."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, "-c", VISITOR, str(port), OWNER]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # of the first connection
        os.set_blocking(self._process.stdout.fileno(), False)

    def waited(self) -> dict[str, Any]:
        """Requests since the last call, the longest wait in seconds, and the statuses."""
        assert self._process.stdout is not None
        rows = [line.split() for line in (self._process.stdout.read() or b"").decode().splitlines()]
        rows = [row for row in rows if len(row) == 2]
        waits = sorted(float(row[0]) for row in rows)
        return {"requests": len(rows), "median s": round(waits[len(waits) // 2], 3) if waits else None,
                "longest s": round(waits[-1], 3) if waits else None,
                "statuses": dict(Counter(row[1] for row in rows))}  # fmt: skip

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def connect(port: int) -> socket.socket:
    """A new connection."""
    return socket.create_connection(("127.0.0.1", port), 20)


def request(rng: random.Random) -> bytes:
    """A valid request."""
    body = rng.choice((b"", b"", *BODIES))
    lines = [f"{'PUT' if body else rng.choice(('GET', 'GET', 'HEAD', 'POST'))} {rng.choice(PATHS)} HTTP/1.1"]
    lines += ["host: 127.0.0.1", f"authorization: Bearer {rng.choice((OWNER, VIEWER, 'wrong-token'))}"]
    lines += [f"cookie: edgevid-8470={rng.choice((OWNER, 'other'))}; a=b"] * rng.randrange(2)
    lines += ["range: bytes=0-99"] * rng.randrange(2) + ["accept-encoding: gzip"]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def handshake(token: str, rng: random.Random) -> bytes:
    """A valid handshake of a WebSocket."""
    key = base64.b64encode(rng.randbytes(16)).decode()
    lines = ["GET /ws HTTP/1.1", "host: 127.0.0.1", "connection: upgrade", "upgrade: websocket",
             "sec-websocket-version: 13", f"sec-websocket-key: {key}", f"authorization: Bearer {token}"]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def frame(data: bytes, opcode: int = 1) -> bytes:
    """A client's frame of a WebSocket."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + struct.pack("!H", size)
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + data


def messages(rng: random.Random) -> bytes:
    """Frames of a WebSocket, whose values are odd ones now and then."""
    found = []
    for _ in range(rng.randrange(1, 8)):
        text = rng.choice(MESSAGES)
        if rng.random() < 0.3:
            text = re.sub(rb"[\d.]+|true|false", lambda _: rng.choice(WORTH).encode(), text)
        found.append(frame(text[:60000], rng.choice((1, 1, 1, 1, 2, 9, 10, 8, 0))))
    return b"".join(found)


def received(one: socket.socket, wait_s: float) -> bytes:
    """What comes until the end or a pause."""
    found = b""
    with suppress(OSError):
        while select.select([one], [], [], wait_s)[0] and len(found) < 1_000_000:
            if not (data := one.recv(65536)):
                break
            found += data
    return found


def exchange(port: int, rng: random.Random) -> tuple[str, bytes]:
    """One damaged exchange: its kind, and the answer."""
    if rng.random() < 0.5:
        with connect(port) as one, suppress(OSError):
            one.sendall(mutated(request(rng), rng, text=rng.random() < 0.5))
            return "http", received(one, 0.02)
        return "http", b""
    with connect(port) as one, suppress(OSError):
        whole = rng.random() < 0.8
        opening = handshake(rng.choice((OWNER, VIEWER)), rng)
        one.sendall(opening if whole else mutated(opening, rng, text=True))
        answer = received(one, 0.02)
        data = messages(rng)
        one.sendall(data if rng.random() < 0.3 else mutated(data, rng, text=False))
        return "websocket", answer + received(one, 0.005)
    return "websocket", b""


def fuzz(port: int, count: int, seed: int, owner: Owner) -> dict[str, Any]:
    """Damaged exchanges one after another: the statuses of their answers, and findings."""
    statuses, findings = Counter[str](), list[dict[str, str]]()
    for number in range(count):
        kind, answer = exchange(port, random.Random(f"{seed} {number}"))
        found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
        status = found[1].decode() if found else "none"
        statuses[f"{kind} {status}"] += 1
        bad = status >= "500" and status not in ("503", "507", "none")
        if bad or SECRET.encode() in answer:
            findings.append({"number": str(number), "kind": kind, "what": status if bad else "the secret shows"})
    return {"exchanges": count, "statuses": dict(sorted(statuses.items())), "findings": findings,
            "owner": owner.waited()}  # fmt: skip


def idle(port: int, seconds: float, owner: Owner, data: bytes) -> dict[str, Any]:
    """1,100 connections that are held, each with `data` sent."""
    held = []
    for _ in range(1100):
        with suppress(OSError):
            held.append(connect(port))
            held[-1].sendall(data)
    time.sleep(seconds)
    most = len(os.listdir("/proc/self/fd")) - len(held)
    for one in held:
        one.close()
    return {"connections": len(held), "descriptors of the program": most, "owner": owner.waited()}


def flood(port: int, seconds: float, owner: Owner, make: Callable[[int], bytes]) -> dict[str, Any]:
    """New connections, one after another, each with data sent."""
    number, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
        with suppress(OSError), connect(port) as one:
            one.sendall(make(number))
    return {"connections/s": round(number / seconds), "owner": owner.waited()}


def sockets(port: int, seconds: float, owner: Owner, opcode: int) -> dict[str, Any]:
    """Sixteen WebSockets of a token holder that send messages as fast as they go."""
    rng, held, sent = random.Random(0), [], 0
    for _ in range(16):
        held.append(connect(port))
        held[-1].sendall(handshake(VIEWER, rng))
        received(held[-1], 0.3)
        held[-1].setblocking(False)
    data, end = frame(b"{}", opcode) * 4000, time.monotonic() + seconds
    while time.monotonic() < end:
        for one in select.select([], held, [], 0.1)[1]:
            with suppress(OSError):
                sent += one.send(data)
    for one in held:
        one.close()
    return {"bytes/s": round(sent / seconds), "owner": owner.waited()}


def run(count: int, seed: int, seconds: float, folder: Path) -> dict[str, Any]:
    """The exchanges, then the attacks, each with what the owner waited; the server runs in this process, beside a
    frame loop."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    import viewer_scene

    from edgevid.types import Frame
    from edgevid.viewer.app import viewer_app
    from edgevid.viewer.serve import Server

    site = folder / "gate.toml"
    site.write_text(f'source = "rtsp://admin:{SECRET}@gate/1"\n')
    logged = logging.FileHandler(folder / "log")
    logging.getLogger().addHandler(logged)
    before = len(os.listdir("/proc/self/fd"))
    state = viewer_scene.make_state(site_file=site)
    with Server(viewer_app(state), port=0, token=OWNER, viewer_token=VIEWER) as server:
        viewer_scene.play_one(state, Frame(viewer_scene.pixels(0), 0.0, 0))
        owner = Owner(server.port)
        result = fuzz(server.port, count, seed, owner)
        if seconds:
            result["attacks"] = {
                "1,100 idle connections": idle(server.port, seconds, owner, b""),
                "1,100 half requests": idle(server.port, seconds, owner, b"GET / HTTP/1.1\r\nhost: "),
                "garbage": flood(server.port, seconds, owner, lambda n: random.Random(n).randbytes(99) + b"\r\n\r\n"),
                "wrong tokens": flood(server.port, seconds, owner,
                                      lambda n: f"GET /?token=wrong-{n} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()),
                "messages of 16 WebSockets": sockets(server.port, seconds, owner, 1),
                "pings of 16 WebSockets": sockets(server.port, seconds, owner, 9),
            }  # fmt: skip
        owner.close()
    state.close()
    text = (folder / "log").read_text()
    result |= {"log bytes": len(text), "log": sorted({line[:160] for line in text.splitlines()})[:20]}
    time.sleep(0.5)
    result["descriptors left open"] = max(0, len(os.listdir("/proc/self/fd")) - before)
    if any(secret in text for secret in (SECRET, OWNER, VIEWER)):
        result["findings"].append({"what": "a secret is in the log"})
    if len(text) > 100_000:
        result["findings"].append({"what": f"the log has {len(text)} bytes"})
    for name, one in {"fuzz": result, **result.get("attacks", {})}.items():
        waited = one["owner"]
        if (waited["longest s"] or 0) > LIMIT_S:
            result["slow"] = [*result.get("slow", []), f"{name}: {waited['longest s']} s"]
        if set(waited["statuses"]) - {"200"}:
            result["findings"].append({"what": f"{name}: the owner got {waited['statuses']}"})
    return result


HEAD = ["attack", "exchanges, connections, or per second", "owner's requests", "median s", "longest s", "not answered"]


def rows_of(result: dict[str, Any]) -> list[list[str]]:
    """A row of the table for each attack."""
    rows = []
    for name, one in {"damaged exchanges": result, **result.get("attacks", {})}.items():
        owner = one["owner"]
        count = one["exchanges"] if one is result else next(iter(one.values()))
        failed = owner["requests"] - owner["statuses"].get("200", 0)
        rows.append(
            [name, f"{count:,}", f"{owner['requests']:,}", *map(str, (owner["median s"], owner["longest s"], failed))]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each attack; 0: none")
    parser.add_argument("--json", type=Path, help="write the figures there instead of benchmarks/results/")
    arguments = parser.parse_args()
    where, began = conditions(), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        result = run(arguments.count, arguments.seed, arguments.seconds, Path(scratch))
    result["minutes"] = round((time.monotonic() - began) / 60, 1)
    result |= {"head": HEAD, "rows": rows_of(result)}
    print(table(HEAD, result["rows"]))
    print(f"findings: {result['findings']}; slow: {result.get('slow', [])}; log: {result['log bytes']} bytes")
    if arguments.json:
        arguments.json.write_text(json.dumps(result))
    else:
        print(save("field_http", result, where))
    raise SystemExit(bool(result["findings"]))


if __name__ == "__main__":
    main()

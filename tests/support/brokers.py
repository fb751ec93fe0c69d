"""Real servers for the tests of sinks: each skips its test, and says why, where its program is not there."""

from __future__ import annotations

import contextlib
import getpass
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rtsp_server import free_port

__all__ = ["Listener", "broker", "certificate", "free_port", "program", "running", "until"]
NEEDS_PAHO = 'needs paho-mqtt: pip install "edgevid[mqtt]"'


def program(name: str, package: str) -> str:
    """The path of a server's program."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found


@contextlib.contextmanager
def running(command: Sequence[object], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens on a port, until the block ends."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen([str(one) for one in command], stdout=quiet, stderr=quiet) as server:
        try:
            assert until(lambda: listens(port)), command
            yield server
        finally:
            server.terminate()


def until(true: Callable[[], object]) -> bool:
    """Waits for up to 10 s until something is true."""
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return bool(true())


def listens(port: int) -> bool:
    """Whether a server listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for a host's name that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program to make a certificate")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
         "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@contextlib.contextmanager
def broker(port: int, folder: Path, *lines: str) -> Iterator[subprocess.Popen[bytes]]:
    """mosquitto with lines of configuration."""
    pytest.importorskip("paho.mqtt.client", reason=NEEDS_PAHO)
    config = folder / "mosquitto.conf"
    options = lines if any("allow" in line for line in lines) else (*lines, "allow_anonymous true")
    config.write_text("\n".join([f"user {getpass.getuser()}", f"listener {port} 127.0.0.1", *options, ""]))
    with running([program("mosquitto", "mosquitto"), "-c", config], port) as server:
        yield server


class Listener:
    """A subscriber to all topics; `at(topic)` lists what came."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as mqtt

        self._changed, self.messages = threading.Condition(), list[tuple[str, str, bool]]()
        ready = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._take
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#", qos=1)
        self.client.loop_start()
        assert ready.wait(10)

    def _take(self, client: Any, data: Any, message: Any) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload.decode(), message.retain))
            self._changed.notify_all()

    def at(self, topic: str, number: int = 1) -> list[Any]:
        """The JSON or texts at a topic, once there are `number`."""

        def found() -> list[str]:
            return [text for name, text, _ in self.messages if name == topic]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= number, 60), self.messages
        return [json.loads(text) if text.startswith("{") else text for text in found()]

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

"""Real servers for the tests of sinks: each skips its test, and says why, where its program is not there."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from rtsp_server import free_port

__all__ = ["certificate", "free_port", "program", "running", "until"]


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

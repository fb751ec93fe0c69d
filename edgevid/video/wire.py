"""FFmpeg's own connection to a camera, found among the open sockets of this process: FFmpeg cannot be interrupted, and
keeps whatever a server sends before the first frame."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

MOST_BYTES = 1 << 24  # No camera sends more before its format is known
LOOK_S = 0.03
RECEIVED_AT = 128  # Where struct tcp_info (Linux 4.2) has the count of bytes
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
SOCKETS = Path("/proc/self/fd")


class Wire:
    """Watches what FFmpeg opens to an address while the block lasts, and ends it where more than MOST_BYTES come. Where
    several connections to one server begin at the same moment, it knows none: they end by their time limits."""

    def __init__(self, address: str) -> None:
        self.received = 0  # Bytes that came while the block lasted
        self.flooded = False  # Whether it was ended, as too many came
        self._before, self._inode, self._over = {inode for inode, _ in _sockets()}, "", threading.Event()
        parts = urlsplit(address)
        with suppress(ValueError):
            self._server = parts.hostname or "", parts.port or PORTS.get(parts.scheme.lower(), 0)
        self._thread = threading.Thread(target=self._watch, name="edgevid-wire", daemon=True)

    def __enter__(self) -> "Wire":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def end(self) -> None:
        """Ends the connection: a read that waits returns at once."""
        for inode, handle in _sockets():
            if inode == self._inode:
                with suppress(OSError), socket.socket(fileno=os.dup(handle)) as connection:
                    connection.shutdown(socket.SHUT_RDWR)

    def _watch(self) -> None:
        with suppress(OSError, AttributeError):
            host, port = self._server
            servers = {found[4][0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
            while not self._over.wait(LOOK_S):
                new = {i: size for i, size in self._counts(servers, port) if i not in self._before}
                if len(new) == 1:
                    ((self._inode, self.received),) = new.items()
                    if self.received > MOST_BYTES:
                        self.flooded = True
                        self.end()

    def _counts(self, servers: set[str | int], port: int) -> Iterator[tuple[str, int]]:
        """The inode of each connection to the server, and how many bytes it has received."""
        for inode, handle in _sockets():
            with suppress(OSError, struct.error), socket.socket(fileno=os.dup(handle)) as connection:
                peer = connection.getpeername()
                if peer[0] in servers and peer[1] == port:
                    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
                    yield inode, struct.unpack_from("Q", info, RECEIVED_AT)[0]


def _sockets() -> Iterator[tuple[str, int]]:
    """The inodes and the handles of the open sockets of this process; none on other systems than Linux."""
    for name in os.listdir(SOCKETS) if SOCKETS.is_dir() else ():
        with suppress(OSError):
            if (inode := os.readlink(SOCKETS / name)).startswith("socket:"):
                yield inode, int(name)

"""FFmpeg's own connection to a camera, found among the open sockets of this process: FFmpeg cannot be interrupted, and
keeps whatever a server sends before the first frame."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

MOST_BYTES = 1 << 24  # No camera sends more before its format is known
LOOK_S = 0.03
RECEIVED_AT = 128  # Where struct tcp_info (Linux 4.2) has the count of bytes
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
SOCKETS = Path("/proc/self/fd")


class Wire:
    """What FFmpeg opens to an address within `watched`. Of several connections to one server that begin at the same
    moment it knows none: they end by their time limits."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._server = parts.hostname or "", parts.port or PORTS.get(parts.scheme.lower(), 0)
        self._before, self._inode = {inode for inode, _ in _sockets()}, ""
        self.received, self.flooded = 0, False  # Bytes that came, and whether it was ended as they were too many
        self._ending = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ends the connection within the block where more than MOST_BYTES come."""
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), name="edgevid-wire", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def end(self) -> None:
        """Ends the connection, as soon as there is one: a read that waits returns at once."""
        self._ending = True
        for inode, connection in _sockets():
            if inode == self._inode:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _watch(self, over: threading.Event) -> None:
        with suppress(OSError):
            servers = {found[4][0] for found in socket.getaddrinfo(*self._server, type=socket.SOCK_STREAM)}
            while not over.wait(LOOK_S):
                new = {}
                for inode, connection in _sockets():
                    with suppress(OSError, ValueError, struct.error):
                        host, port, *_ = connection.getpeername()
                        if inode not in self._before and host in servers and port == self._server[1]:
                            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
                            new[inode] = struct.unpack_from("Q", info, RECEIVED_AT)[0]
                if len(new) == 1:
                    ((self._inode, self.received),) = new.items()
                    self.flooded |= self.received > MOST_BYTES
                    if self.flooded or self._ending:
                        self.end()


def _sockets() -> Iterator[tuple[str, socket.socket]]:
    """The inode of each open socket of this process, and a copy that is closed after; none where there is no Linux."""
    for name in os.listdir(SOCKETS) if SOCKETS.is_dir() else ():
        with suppress(OSError):
            if (inode := os.readlink(SOCKETS / name)).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as copy:
                    yield inode, copy

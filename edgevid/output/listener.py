"""The socket of a server that strangers can reach: few connections, short waits, and a place for who may come in."""

import errno
import socket
import time as clock
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from edgevid.actions.clip_buffer import TokenBucket

MOST = 64  # Connections of one role, but for strangers
WAIT_S = 10.0  # How long a connection may take until a request is admitted, and between two of them
AT_ONCE, PER_SECOND = 300, 100.0  # New connections of one host
BACKLOG = 4096  # Connections that wait in the system; one more waits a second for its second try
RECEIVE_BYTES = 16 * 1024  # Of the system's buffer of a connection: what one of them can have processed at once
STRANGER = ""


class Listener(socket.socket):
    """A bound socket whose connections are limited, by roles: each is a stranger's but while it is `admitted`.

    Of a role with too many, the oldest connection of the host with the most ends. So a new one has time for its
    request, however many others there are, and those of one role take no place of another one."""

    def __init__(self, host: str, port: int, strangers: int = 256,
                 is_known: Callable[[bytes], bool] = lambda _: False) -> None:  # fmt: skip
        """`port` 0 takes any; `strangers` is the most of their connections. `is_known` tells a client by the first
        bytes of its request: others are turned away at once while their host sends too many. OSError where the address
        is in use, or another machine's."""
        family, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        made = socket.create_server(address, family=family, dualstack_ipv6=both)
        super().__init__(family, socket.SOCK_STREAM, fileno=made.detach())
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # of Linux: one that sends nothing costs nothing until then
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(WAIT_S))
        self._strangers, self._is_known = strangers, is_known
        self._rates = lru_cache(maxsize=1000)(lambda host: TokenBucket(PER_SECOND, AT_ONCE))
        self._open = dict[Any, tuple[socket.socket, str, float]]()  # By peer: its connection, role, and since when

    def listen(self, backlog: int = BACKLOG, /) -> None:
        """Listens; servers ask for as many as they accept at once, which is less than may wait."""
        super().listen(max(backlog, BACKLOG))

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Where this program has no file left for it, one of a stranger ends instead."""
        for _ in range(AT_ONCE):
            try:
                connection, address = super().accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and self._limit(STRANGER, 0):
                    break
                raise
            head = b""
            if not self._rates(address[0]).take(1, clock.monotonic()):
                with suppress(OSError):  # it has sent nothing yet
                    head = connection.recv(RECEIVE_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                if not self._is_known(head):
                    connection.close()
                    continue
            self._put(address[:2], connection, STRANGER)
            return connection, address
        raise BlockingIOError  # the server comes again, after what else it has to do

    @contextmanager
    def admitted(self, peer: tuple[str, int] | None, role: str) -> Iterator[None]:
        """Gives the connection of a peer (host, port) a role for as long as its request takes."""
        connection = self._open[peer][0] if peer in self._open else None
        try:
            if connection is not None:
                self._put(peer, connection, role)
            yield
        finally:
            if connection is not None:
                self._put(peer, connection, STRANGER)

    def end_waiting(self) -> None:
        """Ends the connections of strangers that waited too long; to be called about once per second."""
        oldest = clock.monotonic() - WAIT_S
        for peer in [peer for peer, (_, role, since) in self._open.items() if role == STRANGER and since < oldest]:
            self._end(peer)

    def _put(self, peer: Any, connection: socket.socket, role: str) -> None:
        self._open[peer] = connection, role, clock.monotonic()
        self._open = {peer: one for peer, one in self._open.items() if one[0].fileno() >= 0}
        self._limit(role, MOST if role else self._strangers)

    def _limit(self, role: str, most: int) -> bool:
        """Whether there are more than `most` connections of this role: then one ends."""
        peers = [peer for peer, one in self._open.items() if one[1] == role]
        if len(peers) > most:
            host = Counter(peer[0] for peer in peers).most_common(1)[0][0]
            self._end(min((peer for peer in peers if peer[0] == host), key=lambda peer: self._open[peer][2]))
        return len(peers) > most

    def _end(self, peer: Any) -> None:
        with suppress(OSError):  # it has ended already
            self._open.pop(peer)[0].shutdown(socket.SHUT_RDWR)  # its server reads the end, and closes it

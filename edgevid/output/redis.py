"""RedisSink: events as entries of a Redis stream, each exactly once."""

from collections.abc import Sequence
from pathlib import Path

from edgevid.errors import InputError, SourceError, require
from edgevid.output.records import json_line
from edgevid.output.server import WAIT_S, server_of, unavailable
from edgevid.types import Event
from edgevid.types.closing import Closing


class RedisSink(Closing):
    """Entries of `id`, `kind`, `camera`, `event` (JSON); the hash STREAM:last has each camera's last id."""

    def __init__(
        self, url: str, *, stream: str = "edgevid", max_entries: int = 1_000_000, ca: str | Path | None = None
    ) -> None:
        """About `max_entries` are kept, the oldest are deleted; `ca` is a PEM file of certificates to trust.

        InputError for an address that cannot be used, MissingExtraError without redis.
        """
        redis = require("redis", extra="redis", purpose="Redis")
        retry, backoff = (require(f"redis.{n}", extra="redis", purpose="Redis") for n in ("retry", "backoff"))
        server = server_of(url, "redis")
        if server.path and not server.path.isdecimal():
            raise InputError(f"expected a database's number as the path of the address, got {server.path!r}")
        self._stream, self._max_entries = stream, max_entries
        self.name = f"redis {server} {stream}"
        self._error: type[Exception] = redis.RedisError
        self._redis = redis.Redis(
            server.host, server.port, int(server.path or 0), username=server.user or None,
            password=server.password or None, ssl=server.scheme == "rediss", ssl_check_hostname=True,
            ssl_ca_certs=None if ca is None else str(ca), socket_timeout=WAIT_S,
            socket_connect_timeout=WAIT_S, retry=retry.Retry(backoff.NoBackoff(), 0), decode_responses=True,
        )  # fmt: skip

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

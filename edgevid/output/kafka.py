"""KafkaSink: events as messages of a Kafka topic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from edgevid.errors import require
from edgevid.output.records import json_line
from edgevid.output.server import WAIT_S, server_of, unavailable
from edgevid.types import Event
from edgevid.types.closing import Closing

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSink(Closing):
    """Messages: the event as JSON, its `id` as a header, its camera as the key, which keeps the order."""

    def __init__(self, url: str, *, mechanism: Mechanism = "PLAIN", ca: str | Path | None = None) -> None:
        """`mechanism` is the login's; `ca` is a PEM file of certificates to trust, not this machine's.

        InputError for an address that cannot be used, MissingExtraError without confluent-kafka.
        """
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
                producer.produce(
                    self._topic, json_line(event.to_dict()).rstrip().encode(), event.camera.encode(),
                    headers={"id": event.id},
                    on_delivery=lambda error, message: failures.append(error) if error else None,
                )  # fmt: skip
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
